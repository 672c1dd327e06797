"""A person at a keyboard: pauses, speed and typing errors are random, with a fixed seed."""

import contextlib, math, random, time


class Typist:
    """Writes as a person does. `put` takes bytes."""

    def __init__(self, put, seed, pace=1.0):
        self.put, self.r, self.pace = put, random.Random(seed), pace

    def think(self, mean=2.5):
        time.sleep(min(mean * 4, self.r.lognormvariate(math.log(mean), 0.5)) * self.pace)

    def lines(self, lines, think=2.5, eol="\n"):
        """A terminal in line mode: each line is one write."""
        for l in lines:
            self.think(think)
            time.sleep(len(l) * self.r.uniform(0.05, 0.12) * self.pace)
            self.put((l + eol).encode())

    def keys(self, lines, think=2.0, typo=0.03, eol="\r", speed=0.13):
        """A raw terminal: each key is one write."""
        for l in lines:
            self.think(think)
            for ch in l:
                if ch.isalpha() and self.r.random() < typo:
                    self.put(self.r.choice("asdfjkl").encode())
                    self.key(speed * 1.6)
                    self.put(b"\x7f")
                    self.key(speed)
                self.put(ch.encode())
                self.key(speed)
            self.key(speed * 1.3)
            self.put(eol.encode())

    def key(self, mean):
        time.sleep(min(1.5, self.r.lognormvariate(math.log(mean), 0.45)) * self.pace)


def writer(p):
    """put() for a program's stdin that survives its end."""

    def put(b):
        with contextlib.suppress(BrokenPipeError, ValueError, OSError):
            p.stdin.write(b)

    return put
