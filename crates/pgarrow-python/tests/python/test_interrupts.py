"""Ctrl-C, forks, and interpreters that end: each in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from typing import Any

import pytest
from conftest import Psql, eventually

# Far below the sleeps of the queries, and far above what a busy machine needs.
PATIENCE = 20.0
SLEEP = "SELECT i, pg_sleep(120) FROM generate_series(1, 3) i"


class Script:
    """A Python program that says `ready` and then does something for a long time."""

    def __init__(self, dsn: str, text: str, **how: Any) -> None:
        begin = "import sys, os, threading, signal, time\nimport pgarrow_engine as pg\n"
        begin += f"DSN = {dsn!r}\nSLEEP = {SLEEP!r}\n"
        begin += "def ready():\n    print('ready', flush=True)\n"
        self.process = subprocess.Popen(
            [sys.executable, "-c", begin + textwrap.dedent(text)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # As a shell starts it: not every runner leaves SIGINT alone.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
            **how,
        )
        assert self.process.stdout is not None
        if self.process.stdout.readline() != "ready\n":
            self.process.kill()
            raise AssertionError(self.process.communicate()[1])

    def interrupt(self, signal_number: int = signal.SIGINT) -> None:
        self.process.send_signal(signal_number)

    def end(self, presses: int = 1) -> tuple[int, str, str]:
        """Exit code, stdout behind `ready`, and stderr. Every ten seconds, Ctrl-C is pressed once more."""
        for press in range(1, presses + 1):
            try:
                out, err = self.process.communicate(timeout=PATIENCE if press == presses else 10)
                return self.process.returncode, out, err
            except subprocess.TimeoutExpired:
                self.interrupt()
        self.process.kill()
        raise AssertionError(f"it hangs: {self.process.communicate()[1]}")


def sleeping(psql: Psql) -> Callable[[], int]:
    """How many statements sleep on the server."""
    sql = """SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
        AND pid <> pg_backend_pid() AND wait_event = 'PgSleep'"""
    return lambda: int(psql(sql)[0][0])


WAYS = {
    "next": "for batch in db.read(query=SLEEP): pass",
    "pyarrow": "import pyarrow as pa\npa.table(db.read(query=SLEEP))",
    "polars": "import polars as pl\npl.DataFrame(db.read(query=SLEEP))",
    "duckdb": "import duckdb\ns = db.read(query=SLEEP)\nduckdb.sql('SELECT count(*) FROM s').fetchall()",
    "nanoarrow": "import nanoarrow\nlist(nanoarrow.ArrayStream(db.read(query=SLEEP)))",
    "export": "db.export(query=SLEEP, format='none')",
    "export with progress": "db.export(query=SLEEP, format='none', progress=lambda sample: None)",
    "load of a stream": "pg.load(db.read(query='SELECT i FROM (' + SLEEP + ') x'), into='loaded', target=db)",
    "execute": "db.execute('SELECT pg_sleep(120)')",
    "a statement under a plan": "db.plan(query='SELECT 1 AS a').query_text('SELECT pg_sleep(120)')",
    "a transaction": "db.transaction().execute('SELECT pg_sleep(120)')",
    "asyncio": """
import asyncio
async def main():
    s = await db.aread(query=SLEEP)
    async for batch in s: pass
asyncio.run(main())
""",
}

# Those of other packages, by the C stream interface.
READERS = ("pyarrow", "polars", "duckdb", "nanoarrow")


@pytest.fixture(scope="module", autouse=True)
def tables(psql: Psql) -> None:
    psql("CREATE TABLE loaded (i int)")


@pytest.fixture(autouse=True)
def nothing_of_others(psql: Psql) -> None:
    """What a test that failed has left sleeping is not the next one's."""
    psql(
        """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()"""
    )


@pytest.mark.parametrize("way", WAYS)
def test_ctrl_c_ends_the_wait_and_the_backend(way: str, dsn: str, psql: Psql) -> None:
    # pyarrow imports pandas before it asks a stream for anything, and an import may swallow the signal: now
    # and then, this test hung. So what readers import, they have imported. DuckDB's threads have begun then,
    # and the stream is read by one of them, for which the main one waits. Ctrl-C was seen after the batch.
    before = f"sleep, SLEEP = SLEEP, 'SELECT 1 AS i'\n{WAYS[way]}\nSLEEP = sleep" if way in READERS else ""
    script = f"""
db = pg.connect(DSN)
{before}
def settle():
    for _ in range(100000): pass
try:
    try:
        ready()
{textwrap.indent(WAYS[way], "        ")}
        print("went on")
    except KeyboardInterrupt:
        print("interrupted")
    except Exception as error:
        # Readers of the C stream interface raise their own exception; the signal comes behind it.
        try:
            settle()
            print("only", type(error))
        except KeyboardInterrupt:
            print("interrupted")
    settle()
except KeyboardInterrupt:
    print("again")
"""
    count = sleeping(psql)
    program = Script(dsn, script)
    eventually(lambda: count() > 0)
    program.interrupt()
    # DuckDB imports modules to find out what it was given, and drops exceptions that come there.
    code, out, err = program.end(presses=3 if way == "duckdb" else 1)
    # Such readers are told by the signal itself, a second time: a consumer may see both.
    if way in READERS or way == "load of a stream":
        out = out.removesuffix("again\n")
    if way == "duckdb":
        # It has looked for signals itself.
        out = out.replace("only <class 'RuntimeError'>", "interrupted")
    assert (code, out) == (0, "interrupted\n"), (code, out, err)
    eventually(lambda: count() == 0)
    assert psql("SELECT count(*) FROM loaded") == [(0,)]


# The plan has the session of connecting; behind a transaction, that one is left.
@pytest.mark.parametrize(("held", "left"), [("plan(query='SELECT 1 AS a')", 0), ("transaction()", 1)])
def test_ctrl_c_leaves_a_block_as_itself(
    held: str, left: int, dsn: str, psql: Psql, backends: Callable[[], int]
) -> None:
    """What the block held is let go of meanwhile, and no other exception comes in its place."""
    script = f"""
    db = pg.connect(DSN, pool=0)
    ready()
    try:
        with db.{held} as held:
            held.query_text("SELECT pg_sleep(120)")
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    del held
    sys.stdin.read()
    """
    count = sleeping(psql)
    program = Script(dsn, script, stdin=subprocess.PIPE)
    eventually(lambda: count() > 0)
    program.interrupt()
    assert program.process.stdout is not None and program.process.stdout.readline() == "interrupted\n"
    # The program is still there.
    eventually(lambda: count() == 0 and backends() == left)
    assert program.end() == (0, "", "")


def test_a_fork_by_a_thread_has_a_main_thread(dsn: str, psql: Psql) -> None:
    """Ctrl-C works there, and it ends."""
    script = """
    pg.connect(DSN)
    def work():
        if os.fork() > 0:
            return
        try:
            next(pg.connect(DSN).read(query=SLEEP))
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        # The cancel request is on its way.
        time.sleep(1)
        os._exit(0)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ready()
    os.wait()
    """
    program = Script(dsn, script, start_new_session=True)
    count = sleeping(psql)
    eventually(lambda: count() > 0)
    os.killpg(program.process.pid, signal.SIGINT)
    assert program.end() == (0, "interrupted\n", "")
    eventually(lambda: count() == 0)


def test_an_interpreter_that_exits_in_a_callback(dsn: str) -> None:
    """Of a daemon thread, at many moments: the thread may not be ended in code that Rust has called."""
    script = """
    def read():
        db = pg.connect(DSN)
        while True:
            for batch in db.read(query="SELECT i FROM generate_series(1, 30000) i", batch_rows=200,
                                 progress=lambda sample: [str(i) for i in range(20000)]):
                pass
    for _ in range(3):
        threading.Thread(target=read, daemon=True).start()
    ready()
    time.sleep({seconds})
    """
    for n in range(10):
        code, out, err = Script(dsn, script.replace("{seconds}", str(0.05 + n * 0.013))).end()
        assert (code, out) == (0, ""), err


def test_ctrl_c_while_connecting(dsn: str) -> None:
    """A server that takes the connection and says nothing."""
    script = """
    import socket
    listener = socket.create_server(("127.0.0.1", 0))
    kept = []
    threading.Thread(target=lambda: (kept.append(listener.accept()), ready()), daemon=True).start()
    try:
        pg.connect(f"postgresql://x@127.0.0.1:{listener.getsockname()[1]}/x")
    except KeyboardInterrupt:
        print("interrupted")
    """
    program = Script(dsn, script)
    program.interrupt()
    assert program.end()[:2] == (0, "interrupted\n")


def test_a_handler_that_returns_does_not_end_the_read(dsn: str, psql: Psql) -> None:
    script = """
    import pyarrow as pa
    signal.signal(signal.SIGUSR1, lambda *_: print("handled", flush=True))
    db = pg.connect(DSN)
    ready()
    print(pa.table(db.read(query="SELECT 1 AS a, pg_sleep(1.5)")).num_rows, "row")
    """
    program = Script(dsn, script)
    count = sleeping(psql)
    eventually(lambda: count() > 0)
    program.interrupt(signal.SIGUSR1)
    assert program.end()[:2] == (0, "handled\n1 row\n")


def test_other_threads_are_left_alone_and_can_be_cancelled(dsn: str, psql: Psql) -> None:
    script = """
    stream = pg.connect(DSN).read(query=SLEEP)
    def read():
        try:
            next(stream)
        except pg.Cancelled as error:
            print("thread:", error)
    thread = threading.Thread(target=read)
    thread.start()
    try:
        ready()
        while True: time.sleep(0.05)
    except KeyboardInterrupt:
        print("main: interrupted")
    stream.cancel()
    thread.join()
    """
    program = Script(dsn, script)
    count = sleeping(psql)
    eventually(lambda: count() > 0)
    program.interrupt()
    code, out, err = program.end()
    assert (code, out) == (0, "main: interrupted\nthread: cancelled by a call of cancel()\n"), err


def test_who_is_told_of_signals_is_left_alone(dsn: str) -> None:
    script = """
import socket
ready()
ours, _ = socket.socketpair()
ours.setblocking(False)
db = pg.connect(DSN)
signal.set_wakeup_fd(ours.fileno())
db.read(query="SELECT 1 AS i").close()
print(signal.set_wakeup_fd(-1) == ours.fileno())
signal.signal(signal.SIGINT, lambda *_: None)
db.read(query="SELECT 1 AS i").close()
print(signal.set_wakeup_fd(-1) == -1)
signal.signal(signal.SIGINT, signal.default_int_handler)
db.read(query="SELECT 1 AS i").close()
# A fork has none.
pid = os.fork()
if pid == 0:
    os._exit(0 if signal.set_wakeup_fd(-1) == -1 else 1)
print(os.waitpid(pid, 0)[1] == 0, signal.set_wakeup_fd(-1) != -1)
"""
    code, out, err = Script(dsn, script).end()
    assert (code, out) == (0, "True\nTrue\nTrue True\n"), (code, out, err)


@pytest.mark.parametrize("daemon", [True, False])
@pytest.mark.parametrize("way", ["next(stream)", "__import__('pyarrow').table(stream)"])
def test_an_interpreter_that_exits_leaves_nothing(way: str, daemon: bool, dsn: str, psql: Psql) -> None:
    """In the middle of a read, in another thread."""
    script = f"""
    stream = pg.connect(DSN).read(query=SLEEP)
    def read():
        try: {way}
        except Exception: pass
    thread = threading.Thread(target=read, daemon={daemon})
    thread.start()
    ready()
    sys.stdin = None
    time.sleep(0.2)
    {"" if daemon else "stream.cancel()"}
    """
    count = sleeping(psql)
    program = Script(dsn, script)
    code, out, err = program.end()
    assert (code, out, err) == (0, "", "")
    eventually(lambda: count() == 0)


@pytest.mark.parametrize(
    "held",
    [
        "kept = pg.connect(DSN).read(query=SLEEP)",
        "kept = pg.connect(DSN).read(query=SLEEP).__arrow_c_stream__()",
        "kept = pg.connect(DSN).plan(query='SELECT 1 AS a')",
        "kept = pg.connect(DSN).transaction()",
        "import builtins; builtins.kept = pg.connect(DSN).read(query=SLEEP)",
    ],
)
def test_what_is_left_open_ends_with_the_interpreter(
    held: str, dsn: str, backends: Callable[[], int]
) -> None:
    program = Script(dsn, f"{held}\nready()")
    assert program.end() == (0, "", "")
    eventually(lambda: backends() == 0)


def test_sys_exit_in_the_middle(dsn: str, psql: Psql) -> None:
    script = """
    def stop(*_): sys.exit(7)
    signal.signal(signal.SIGTERM, stop)
    db = pg.connect(DSN)
    ready()
    next(db.read(query=SLEEP))
    """
    count = sleeping(psql)
    program = Script(dsn, script)
    eventually(lambda: count() > 0)
    program.interrupt(signal.SIGTERM)
    assert program.end()[0] == 7
    eventually(lambda: count() == 0)


# What runs code of Python while a call goes on: where a stream begins, where it is given away, where an error
# becomes an exception.
MOMENTS = {
    "a stream begins": ("signal", "getsignal", "db.read(query=SLEEP)"),
    "a stream is given away": (
        "signal",
        "getsignal",
        """
        reading = threading.Thread(target=lambda: streams.append(db.read(query=SLEEP)))
        reading.start()
        reading.join()
        at(True)
        streams[0].__arrow_c_stream__()""",
    ),
    "an error becomes an exception": ("pgarrow_engine._errors", "make", "db.execute('SELECT 1 / 0')"),
}


@pytest.mark.parametrize("raised", ["SystemExit(7)", "TimeoutError()", "TypeError()", "KeyboardInterrupt()"])
@pytest.mark.parametrize("moment", MOMENTS)
def test_what_a_handler_raises_in_our_own_code_of_python_arrives(moment: str, raised: str, dsn: str) -> None:
    """Handlers run wherever Python does. An exception of one used to be dropped in such a moment: nobody knew
    of it, and the program slept on."""
    module, function, call = MOMENTS[moment]
    script = f"""
    import importlib
    module = importlib.import_module({module!r})
    own, is_time, streams = module.{function}, False, []
    def at(now):
        global is_time
        is_time = now
    def pressed(*args):
        if is_time:
            at(False)
            signal.raise_signal(signal.SIGTERM)
        return own(*args)
    def stop(*_):
        raise {raised}
    signal.signal(signal.SIGTERM, stop)
    module.{function} = pressed
    ready()
    db = pg.connect(DSN)
    try:
        at({"given away" not in moment})
        {call.strip()}
        print("went on", is_time)
    except BaseException as error:
        print(repr(error), "by zero" in str(error.__cause__))
    """
    code, out, err = Script(dsn, script).end()
    # What was to be said when it came is not lost.
    assert (code, out) == (0, f"{raised} {'error' in moment}\n"), (code, out, err)


def test_streams_begin_though_nobody_can_be_told_of_signals(dsn: str) -> None:
    """Somebody has closed the socket that he wanted to be told by; or all that are open, ours among them."""
    script = """
    import socket
    told, other = socket.socketpair()
    told.setblocking(False)
    signal.set_wakeup_fd(told.fileno())
    told.close()
    ready()
    db = pg.connect(DSN, pool=0)
    read = lambda: sum(batch.num_rows for batch in db.read(query="SELECT 1 AS a"))
    print(read(), read())
    os.closerange(3, 64)
    print(read(), read())
    """
    code, out, err = Script(dsn, script).end()
    assert (code, out) == (0, "1 1\n1 1\n"), (code, out, err)


def test_a_fork_can_neither_use_nor_end_what_the_parent_has(dsn: str) -> None:
    script = """
    db = pg.connect(DSN)
    stream = db.read(query="SELECT i FROM generate_series(1, 300000) i", batch_rows=1000)
    given = db.read(query="SELECT i FROM generate_series(1, 3000) i").__arrow_c_stream__()
    plan = db.plan(query="SELECT 1 AS a")
    transaction = db.transaction()
    first = next(stream).num_rows
    ready()
    child = os.fork()
    if child == 0:
        refused = 0
        for use in (lambda: next(stream), lambda: db.read(query="SELECT 1"), plan.check, db.close,
                    lambda: transaction.execute("SELECT 1"), stream.close):
            try:
                use()
            except pg.StateError as error:
                refused += "a fork" in str(error)
        # A connection of its own works.
        own = sum(batch.num_rows for batch in pg.connect(DSN).read(query="SELECT 1 AS a"))
        print("child:", refused, own, flush=True)
        del stream, given, plan, transaction, db
        sys.exit(0)
    os.waitpid(child, 0)
    rest = sum(batch.num_rows for batch in stream)
    transaction.execute("SELECT 1")
    plan.check()
    print("parent:", first + rest, flush=True)
    """
    code, out, err = Script(dsn, script).end()
    assert (code, out, err) == (0, "child: 6 1\nparent: 300000\n", "")


@pytest.mark.parametrize("method", ["spawn", "fork", "forkserver"])
def test_processes_read_tokens(method: str, dsn: str, tmp_path: os.PathLike[str]) -> None:
    path = os.path.join(tmp_path, "workers.py")
    with open(path, "w") as file:
        file.write(
            textwrap.dedent(
                f"""
                import multiprocessing, sys
                import pgarrow_engine as pg
                DSN = {dsn!r}
                def rows(token):
                    return sum(batch.num_rows for batch in pg.read_token(DSN, token))
                if __name__ == "__main__":
                    db = pg.connect(DSN)
                    db.execute("CREATE TABLE IF NOT EXISTS sliced AS SELECT i, repeat('x', 500) "
                               "FROM generate_series(1, 20000) i")
                    with db.plan(table="sliced", slice_bytes="1M", readers=4) as plan:
                        context = multiprocessing.get_context({method!r})
                        with context.Pool(2) as pool:
                            print(len(plan.tokens) > 4, sum(pool.map(rows, plan.tokens)))
                """
            )
        )
    done = subprocess.run([sys.executable, path], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("True 20000\n", "")
