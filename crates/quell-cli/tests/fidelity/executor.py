"""concurrent.futures, both kinds."""
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

if __name__ == "__main__":
    with ThreadPoolExecutor(2) as threads:
        print(list(threads.map(abs, [-1, 2])))
    with ProcessPoolExecutor(1) as processes:
        print(list(processes.map(abs, [-3, 4])))
