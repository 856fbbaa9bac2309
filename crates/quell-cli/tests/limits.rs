//! It always ends: what happens at a limit, for scripts in every state.

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// A busy machine may start everything late.
const SLACK: Duration = Duration::from_secs(5);

struct Ended {
    out: String,
    err: String,
    code: Option<i32>,
    took: Duration,
}

impl Ended {
    fn report(&self) -> &str {
        self.err.lines().last().filter(|line| line.starts_with('{')).unwrap_or_default()
    }

    #[track_caller]
    fn has(&self, part: &str) {
        assert!(self.report().contains(part), "{part} in {}\n{}", self.report(), self.err);
    }
}

fn run(options: &[&str], code: &str) -> Ended {
    let started = Instant::now();
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_quell"))
        .arg("run")
        .args(options)
        .args(["--report", "json", "-c", code])
        .stdin(Stdio::null())
        .output()
        .expect("starts");
    Ended {
        out: String::from_utf8_lossy(&stdout).into_owned(),
        err: String::from_utf8_lossy(&stderr).into_owned(),
        code: status.code(),
        took: started.elapsed(),
    }
}

#[track_caller]
fn limited(code: &str) -> Ended {
    let ended = run(&["--timeout", "1500ms", "--grace", "1s"], code);
    assert_eq!(ended.code, Some(124), "{}", ended.err);
    assert!(ended.took < Duration::from_millis(2_500) + SLACK, "{:?}: {}", ended.took, ended.err);
    ended
}

#[test]
fn a_loop_unwinds() {
    let ended = limited("try:\n  while True: pass\nfinally: print('cleaned up')");
    assert_eq!(ended.out, "cleaned up\n");
    ended.has("\"ended\":\"unwound\"");
    ended.has("\"state\":\"running\"");
    ended.has("\"exception\":\"quell.TimeLimit\"");
    assert!(ended.err.contains("quell.TimeLimit: time limit of 1.5s reached"), "{}", ended.err);
}

#[test]
fn a_blocked_call_unwinds() {
    let ended = limited("import time\ntry: time.sleep(60)\nfinally: print('cleaned up')");
    assert_eq!(ended.out, "cleaned up\n");
    ended.has("\"blocked_in\":\"sleep\"");
}

#[test]
fn what_swallows_everything_unwinds() {
    let code = "try:\n  while True:\n    try:\n      while True: pass\n    except BaseException: pass\nfinally: \
                print('cleaned up')";
    let ended = limited(code);
    assert_eq!(ended.out, "cleaned up\n", "{}", ended.err);
    ended.has("\"ended\":\"unwound\"");
}

#[test]
fn what_keeps_the_interpreter_is_ended() {
    let ended = limited("sum(range(10**11))");
    ended.has("\"ended\":\"killed\"");
    ended.has("\"delivered\":false");
    assert!(ended.err.contains("MainThread (most recent call last)"), "{}", ended.err);
}

#[test]
fn a_worker_that_the_script_waits_for_unwinds_too() {
    let code = "import threading, time\ndef work():\n  try: time.sleep(60)\n  finally: print('worker')\nt = \
                threading.Thread(target=work, name='w')\nt.start()\ntry: t.join()\nfinally: print('main')";
    let ended = limited(code);
    let mut lines: Vec<_> = ended.out.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["main", "worker"], "{}", ended.err);
    ended.has("\"name\":\"w\"");
    ended.has("\"outcome\":\"interrupted, ended\"");
}

#[test]
fn a_thread_that_outlives_the_script_unwinds() {
    let code = "import threading\ndef work():\n  try: threading.Event().wait()\n  finally: \
                print('worker')\nthreading.Thread(target=work).start()";
    let ended = limited(code);
    assert_eq!(ended.out, "worker\n", "{}", ended.err);
    ended.has("\"state\":\"ended\"");
}

#[test]
fn the_exit_status_of_a_script_that_handles_it() {
    let ended = limited(
        "import quell\ntry:\n  while True: pass\nexcept quell.TimeLimit as e: print(e.limit, e.used >= 1.5)",
    );
    assert_eq!(ended.out, "1.5 True\n");
}

#[test]
fn a_finalizer_that_never_ends() {
    let ended = limited("class A:\n  def __del__(self):\n    while True: pass\na = A()");
    ended.has("\"ended\":\"killed\"");
}

#[test]
fn a_start_that_never_ends() {
    let directory = std::env::temp_dir().join(format!("quell-start-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("can be made");
    std::fs::write(directory.join("sitecustomize.py"), "while True: pass").expect("can be written");
    let status = Command::new(env!("CARGO_BIN_EXE_quell"))
        .args(["run", "--timeout", "300ms", "--grace", "200ms", "-c", "print('never')"])
        .env("PYTHONPATH", &directory)
        .output()
        .expect("starts");
    std::fs::remove_dir_all(&directory).expect("is ours");
    assert_eq!(status.status.code(), Some(124), "{status:?}");
    assert!(status.stdout.is_empty());
}

#[test]
fn children_end_with_the_script() {
    let code = "import subprocess\np = subprocess.Popen(['sleep', '1000'])\nprint(p.pid, flush=True)\nwhile True: pass";
    // Long enough to have started it.
    let ended = run(&["--timeout", "2s"], code);
    assert_eq!(ended.code, Some(124), "{}", ended.err);
    let pid = ended.out.trim();
    ended.has(&format!("\"pid\":{pid},\"name\":\"sleep\",\"killed\":true"));
    assert!(!std::path::Path::new("/proc").join(pid).exists());
}

#[test]
fn a_fork_that_outlives_its_parent_keeps_the_limit() {
    let code = "import os\nif os.fork(): os._exit(0)\ntry:\n  while True: pass\nfinally: os.write(1, b'child')";
    let started = Instant::now();
    // The pipe stays open as long as the child lives.
    let ended = run(&["--timeout", "1500ms"], code);
    assert!(started.elapsed() < Duration::from_millis(2_500) + SLACK);
    assert_eq!((ended.code, ended.out.as_str()), (Some(0), "child"));
}

#[test]
fn processor_time_is_not_time() {
    let sleeps = run(&["--cpu", "300ms"], "import time; time.sleep(.6); print('slept')");
    assert_eq!((sleeps.code, sleeps.out.as_str()), (Some(0), "slept\n"), "{}", sleeps.err);
    let spins = run(&["--cpu", "300ms"], "while True: pass");
    assert_eq!(spins.code, Some(124));
    spins.has("\"kind\":\"cpu\"");
    let child =
        "import subprocess, sys; subprocess.run([sys.executable, '-c', 'while True: pass'])";
    let spins = run(&["--cpu", "300ms"], child);
    assert_eq!(spins.code, Some(124));
    spins.has("\"kind\":\"cpu\"");
}

#[test]
fn memory() {
    let code = "kept = []\ntry:\n  while True: kept.append(bytearray(1 << 20))\nfinally: print(len(kept) > 50)";
    let grows = run(&["--memory", "150M"], code);
    assert_eq!((grows.code, grows.out.as_str()), (Some(124), "True\n"), "{}", grows.err);
    grows.has("\"kind\":\"memory\",\"limit\":157286400");
}

#[test]
fn another_exception() {
    let code = "try:\n  while True: pass\nexcept KeyboardInterrupt: print('caught')";
    let ended = run(&["--timeout", "1s", "--exception", "KeyboardInterrupt"], code);
    assert_eq!((ended.code, ended.out.as_str()), (Some(124), "caught\n"), "{}", ended.err);
    let ended = run(&["--timeout", "1s", "--exception", "KeyboardInterrupt"], "while True: pass");
    assert_eq!(ended.code, Some(124), "not ended by SIGINT: {}", ended.err);
    let code =
        "class Stop(Exception): pass\ntry:\n  while True: pass\nexcept Stop: print('caught')";
    let ended = run(&["--timeout", "1s", "--exception", "__main__:Stop"], code);
    assert_eq!((ended.code, ended.out.as_str()), (Some(124), "caught\n"), "{}", ended.err);
    let ended = run(&["--timeout", "1s", "--exception", "NoSuch"], "print('never')");
    assert_eq!((ended.code, ended.out.as_str()), (Some(125), ""), "{}", ended.err);
}

#[test]
fn quiet_says_nothing() {
    let done = Command::new(env!("CARGO_BIN_EXE_quell"))
        .args(["run", "--timeout", "1s", "--quiet", "-c"])
        .arg("try:\n  while True: pass\nexcept BaseException: pass")
        .output()
        .expect("starts");
    assert_eq!(done.status.code(), Some(124));
    assert!(done.stderr.is_empty(), "{done:?}");
}

#[test]
fn ctrl_c_in_three_steps() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_quell"))
        .args(["run", "-c"])
        .arg(
            "import signal, time\nsignal.signal(signal.SIGINT, lambda *_: print('handler', flush=True))\ntry:\n  \
             print('ready', flush=True)\n  while True: time.sleep(1000)\nfinally:\n  print('insisted', flush=True)\n  \
             sum(range(10**11))",
        )
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut says = |wanted: &str| {
        let line = lines.next().expect("says more").expect("text");
        assert_eq!(line, wanted);
    };
    // SAFETY: the process is this test's.
    let press = || unsafe { libc::kill(child.id() as i32, libc::SIGINT) };
    says("ready");
    press();
    says("handler");
    press();
    says("handler");
    says("insisted");
    press();
    let done = child.wait_with_output().expect("is ours");
    assert_eq!(done.status.signal(), Some(libc::SIGINT));
    let text = String::from_utf8_lossy(&done.stderr);
    assert!(text.contains("MainThread (most recent call last)"), "{text}");
}
