"""Runs a program on a pty; standard input is the keyboard, the screen goes to standard output."""
import os, pty, select, sys

pid, fd = pty.fork()
if pid == 0:
    os.environ["TERM"] = "xterm-256color"
    os.execvp(sys.argv[1], sys.argv[1:])
inputs = [0, fd]
while True:
    for f in select.select(inputs, [], [])[0]:
        try:
            b = os.read(f, 65536)
        except OSError:
            sys.exit()
        if f == 0:
            if not b:
                inputs.remove(0)
            else:
                os.write(fd, b)
        elif not b:
            sys.exit()
        else:
            os.write(1, b)
