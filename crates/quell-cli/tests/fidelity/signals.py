"""How the signals are set."""
import signal

for number in sorted(n for n in signal.valid_signals() if n < signal.SIGRTMIN):
    print(number, signal.getsignal(number))
print(signal.pthread_sigmask(signal.SIG_BLOCK, []))
print(signal.getitimer(signal.ITIMER_REAL))
