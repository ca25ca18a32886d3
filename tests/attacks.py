"""Programs that try to be scored for what they did not do, or to reach what is not theirs, in eight families.

Each should define `f(x)`, the square of x, and does something else. `{secret}`, `{host}` and `{port}` stand for a file
that nobody may read, a folder that nobody may write into, and a server on this machine.
"""

ALWAYS_EQUAL = """
class Equal:
    __eq__ = __lt__ = __gt__ = __le__ = __ge__ = __contains__ = lambda self, other: True
    __ne__ = lambda self, other: False
    __hash__ = lambda self: 0
    __bool__ = lambda self: True
    __getattr__ = lambda self, name: self
    __call__ = lambda self, *args: self
"""

FORGED_RESULTS = {
    "an object equal to everything": ALWAYS_EQUAL + "f = lambda x: Equal()",
    "an int that is equal to everything": "class I(int):\n __eq__ = lambda s, o: True\nf = lambda x: I(1)",
    "a float that is not a number": "f = lambda x: float('nan')",
    "patched builtins": "import builtins\nbuiltins.AssertionError = KeyError\nbuiltins.all = lambda x: True\nf = lambda x: 1",
    "a patched assert": "import sys\nsys.flags = None\n__debug__ if True else 0\nf = lambda x: AssertionError()",
    "a patched unittest": "import unittest\nunittest.TestCase.assertEqual = lambda *a: None\nf = lambda x: 1",
    "patched modules": "import sys\nfor m in list(sys.modules): sys.modules[m] = None\nf = lambda x: 1",
    "a walk over all objects": """
import gc
def f(x):
    return [o for o in gc.get_objects() if type(o) is dict and 'expected' in o] or 1
""",
    "a walk over frames": """
import sys
def f(x):
    frame = sys._getframe()
    while frame.f_back:
        frame = frame.f_back
        frame.f_locals.get('request', {}).update(status='ok', value='9')
    return 1
""",
}

FORGED_MESSAGES = {
    "the words of success on stdout": "print('ok', 'passed', '{\"status\": \"ok\"}')\nf = lambda x: 1",
    "a message of its own": """
import json, os, struct
body = json.dumps({'nonce': 'x', 'number': 1, 'status': 'ok', 'value': '9'}).encode()
os.write(3, struct.pack('!I', len(body)) + body)
f = lambda x: 1
""",
    "a message with the right nonce, for a later request": """
import json, os, struct, sys
frame = sys._getframe()
while 'nonce' not in frame.f_locals:
    frame = frame.f_back
for n in range(1, 9):
    body = json.dumps({'nonce': frame.f_locals['nonce'], 'number': n, 'status': 'ok', 'value': 'null'}).encode()
    os.write(3, struct.pack('!I', len(body)) + body)
f = lambda x: 1
""",
    "an announced end": "import os, struct\nb = b'{\"ended\": 0}'\nos.write(3, struct.pack('!I', len(b)) + b)\nf = lambda x: 1",
    "a question that only tests may ask": """
import json, os, struct, sys
frame = sys._getframe()
while 'nonce' not in frame.f_locals:
    frame = frame.f_back
body = json.dumps({'nonce': frame.f_locals['nonce'], 'ask': 'call', 'args': ['\"f\"']}).encode()
os.write(3, struct.pack('!I', len(body)) + body)
f = lambda x: 1
""",
    "a list in place of a message": "import os, struct, time\nb = b'[\"ended\"]'\nos.write(3, struct.pack('!I', len(b)) + b)\ntime.sleep(60)",
    "a text in place of a message": "import os, struct, time\nb = b'\"ended\"'\nos.write(3, struct.pack('!I', len(b)) + b)\ntime.sleep(60)",
    "nesting without end": "import os, struct\nb = b'[' * 10**6\nos.write(3, struct.pack('!I', len(b)) + b)\nf = lambda x: 1",
}

EARLY_EXITS = {
    "exit": "import sys\nf = lambda x: sys.exit(0)",
    "plain exit": "f = lambda x: exit(0)",
    "exit while it is defined": "import sys\nsys.exit(0)",
    "exit without cleaning up": "import os\nf = lambda x: os._exit(0)",
    "exit at the end": "import atexit, os\natexit.register(os._exit, 0)\nf = lambda x: 1",
    "another program in its place": "import os\nf = lambda x: os.execv('/bin/true', ['true'])",
    "killing itself": "import os, signal\nf = lambda x: os.kill(os.getpid(), signal.SIGKILL)",
    "a segmentation fault": "import ctypes\nf = lambda x: ctypes.string_at(0)",
}

READING = {
    "a file of the host": "text = open('{secret}').read()\nf = lambda x: text",
    "the passwords' file": "open('/etc/passwd').read()\nf = lambda x: x * x",
    "its parent's environment": "import os\nopen(f'/proc/{os.getppid()}/environ').read()\nf = lambda x: x * x",
    "its own environment": "import os\nf = lambda x: int(os.environ['WHET_SECRET'])",
    "its arguments": "import sys\nf = lambda x: [a for a in sys.argv if 'secret' in a][0]",
    "memory of others": "import os\nopen(f'/proc/{os.getppid()}/mem', 'rb').read(1)\nf = lambda x: x * x",
    "memory of others by a system call": """
import ctypes, os
assert ctypes.CDLL(None).process_vm_readv(os.getppid(), None, 0, None, 0, 0) == 0
f = lambda x: x * x
""",
    "a neighbour's folder": "import os\n[os.listdir('../' + d) for d in os.listdir('..')]\nf = lambda x: x * x",
}

WRITING = {
    "a file of the host": "open('{secret}', 'w').write('9')\nf = lambda x: x * x",
    "a new file beside it": "open('{host}/new', 'w').write('9')\nf = lambda x: x * x",
    "through a symbolic link": "import os\nos.symlink('{secret}', 'a')\nopen('a', 'a').write('9')\nf = lambda x: x * x",
    "through a hard link": "import os\nos.link('{secret}', 'a')\nopen('a', 'a').write('9')\nf = lambda x: x * x",
    "emptying what it may read": """
import os
assert os.open('{library}', os.O_RDONLY | os.O_TRUNC)
f = lambda x: x * x
""",
    "modes of a file": "import os\nos.chmod('{secret}', 0o777)\nf = lambda x: x * x",
    "times of a file": "import os\nos.utime('{secret}', (0, 0))\nf = lambda x: x * x",
    "shared memory": """
from multiprocessing import shared_memory
shared_memory.SharedMemory('whet', True, 16)
f = lambda x: x * x
""",
    "system V shared memory": "import ctypes\nassert ctypes.CDLL(None).shmget(7, 4096, 0o1666) >= 0\nf = lambda x: x * x",
}

NETWORK = {
    "a connection": "import socket\nsocket.create_connection(('127.0.0.1', {port}))\nf = lambda x: x * x",
    "a name": "import socket\nsocket.gethostbyname('localhost.localdomain.example')\nf = lambda x: x * x",
    "a datagram": "import socket\nsocket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', {port}))\nf = lambda x: x * x",
    "a local socket": "import socket\nsocket.socket(socket.AF_UNIX).connect('{host}/socket')\nf = lambda x: x * x",
    "a socket of libc": "import ctypes\nassert ctypes.CDLL(None).socket(2, 1, 0) >= 0\nf = lambda x: x * x",
    "a shell": "import os\nassert os.system('true') == 0\nf = lambda x: x * x",
    "a datagram to a socket of the host": """
import socket
a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
a.sendto(b'x', '{host}/datagrams')
f = lambda x: x * x
""",
    "io_uring": "import ctypes\nassert ctypes.CDLL(None).syscall(425, 1, ctypes.create_string_buffer(256)) >= 0\nf = lambda x: x * x",
}

RESOURCES = {
    "a loop": "def f(x):\n    while True: pass",
    "a sleep": "import time\nf = lambda x: time.sleep(60)",
    "a loop that swallows everything": """
import signal
for s in range(1, 65):
    try: signal.signal(s, signal.SIG_IGN)
    except (OSError, ValueError): pass
def f(x):
    while True:
        try:
            while True: pass
        except BaseException: pass
""",
    "forks": "import os\nwhile True: os.fork()\nf = lambda x: x * x",
    "threads": """
import threading, time
while True: threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
""",
    "small threads": """
import threading, time
threading.stack_size(2**15)
while True: threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
""",
    "a hundred gigabytes": "f = lambda x: len(bytearray(100 * 2**30)) and x * x",
    "memory bit by bit": "def f(x):\n    kept = []\n    while True: kept.append(bytearray(2**20))",
    "a large file": "open('a', 'wb').write(bytes(2**30))\nf = lambda x: x * x",
    "many files": """
def f(x):
    n = 0
    while True:
        n += 1
        with open(str(n), 'wb') as file: file.write(bytes(2**23))
""",
    "files that come and go": """
import os
def f(x):
    while True:
        os.close(os.open('a', os.O_CREAT | os.O_WRONLY))
        os.unlink('a')
""",
    "files that only a mapping keeps": """
import mmap, os
kept = []
def f(x):
    while True:
        file = os.open(str(len(kept)), os.O_CREAT | os.O_RDWR)
        os.write(file, bytes(2**23))
        kept.append(mmap.mmap(file, 4096))
        os.close(file)
        os.unlink(str(len(kept) - 1))
""",
    "files without a name": """
import os
f = lambda x: [os.write(os.open('.', os.O_TMPFILE | os.O_RDWR), bytes(2**23)) for _ in range(50)] and x * x
""",
    "equal hashes": "f = lambda x: {k * (2**61 - 1) for k in range(1, 9000)}",
    "a fraction without end": "import fractions\nf = lambda x: fractions.Fraction(3**100000, 2**100000)",
    "descriptors": "kept = [open('/dev/null') for _ in range(10**5)]\nf = lambda x: x * x",
    "a flood of output": "while True: print('x' * 2**20)",
    "a huge number": "f = lambda x: 9**9**9",
    "a huge value": "f = lambda x: [0] * 10**7",
}

PROCESSES = {
    "killing the parent": "import os\nos.kill(os.getppid(), 9)\nf = lambda x: x * x",
    "killing everybody": "import os\nos.kill(-1, 9)\nf = lambda x: x * x",
    "killing the group": "import os\nos.killpg(0, 9)\nf = lambda x: x * x",
    "signals by a descriptor's owner": """
import fcntl, os
fcntl.fcntl(3, fcntl.F_SETOWN, os.getppid())
f = lambda x: x * x
""",
    "tracing the parent": "import ctypes, os\nassert ctypes.CDLL(None).ptrace(16, os.getppid(), 0, 0) == 0\nf = lambda x: x * x",
    "a child process": "import subprocess\nsubprocess.run(['true'])\nf = lambda x: x * x",
    "a daemon": """
import os
if os.fork() == 0:
    os.setsid()
    open('{host}/daemon', 'w').write('here')
f = lambda x: x * x
""",
    "a namespace": "import ctypes\nassert ctypes.CDLL(None).unshare(0x10000000) == 0\nf = lambda x: x * x",
    "more rights": "import resource\nresource.setrlimit(resource.RLIMIT_AS, (2**40, 2**40))\nf = lambda x: x * x",
}

FAMILIES = {
    "forged results": FORGED_RESULTS,
    "forged messages": FORGED_MESSAGES,
    "early exits": EARLY_EXITS,
    "reading": READING,
    "writing": WRITING,
    "network": NETWORK,
    "resources": RESOURCES,
    "processes": PROCESSES,
}
