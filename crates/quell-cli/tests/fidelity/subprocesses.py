"""Children through subprocess."""
import subprocess
import sys

print(subprocess.run([sys.executable, "-c", "print(1 + 1)"], capture_output=True, text=True))
print(subprocess.run("exit 3", shell=True).returncode)
print(subprocess.run(["kill", "-l"], capture_output=True).returncode)
print(subprocess.run(["true"], preexec_fn=lambda: print("in the child", flush=True)).returncode)
