//! Child processes that never outlive this one.
//!
//! A destructor does not run when a process is killed, and `PR_SET_PDEATHSIG` needs `unsafe` and knows only Linux. So every
//! child starts as a shell that leaves a watcher behind and then becomes the program: the watcher reads a pipe of which this
//! process alone holds the other end. However this process ends, the kernel closes the pipe, and the watcher kills the
//! child's process group (itself included).

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

/// The shell keeps its process id when it becomes the program, so `Child` is the program itself: its exit status is heard
/// at once and a signal reaches it. Each child leads its own process group: Ctrl-C in a terminal reaches this process only,
/// and the group's id cannot be given to another process while the watcher lives, so `kill 0` never hits a stranger.
const SUPERVISED: &str = r#"
exec 3<&0
( read -r _; kill -KILL 0 ) <&3 >/dev/null 2>&1 &
exec "$@" </dev/null 3<&-
"#;

/// Removes a folder when the pipe closes. Processes that write there are being killed at the same moment, hence the retries.
const JANITOR: &str = r#"
read -r _
tries=0
while [ -e "$1" ] && [ $tries -lt 100 ]; do
  rm -rf -- "$1" 2>/dev/null
  [ -e "$1" ] && sleep 0.1
  tries=$((tries + 1))
done
"#;

/// How much of a log an error shows.
const TAIL_LINES: usize = 25;

/// A running program that is killed when this is dropped or when this process ends, however it ends.
#[derive(Debug)]
pub struct Process {
    name: &'static str,
    child: Child,
    log: PathBuf,
    /// Where this run's output begins in the log, which a restarted program appends to.
    log_start: u64,
}

impl Process {
    /// Starts `program` with its output appended to `log`.
    pub fn spawn<I, S>(
        name: &'static str,
        program: &Path,
        args: I,
        log: &Path,
        adjust: impl FnOnce(&mut Command),
    ) -> io::Result<Self>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let output = OpenOptions::new().create(true).append(true).open(log)?;
        let log_start = output.metadata()?.len();
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", SUPERVISED, name])
            .arg(program)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0);
        adjust(&mut command);
        Ok(Self { name, child: command.spawn()?, log: log.to_owned(), log_start })
    }

    /// What the process is called in errors.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The program's process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How the program ended, if it has. There is no blocking wait: the standard library's would close the pipe first.
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// The last lines that this run logged.
    pub fn log_tail(&self) -> String {
        tail(&self.log, self.log_start).unwrap_or_else(|error| format!("(no log: {error})"))
    }

    /// Asks the program to end, as Kubernetes asks a Pod.
    pub fn terminate(&self) -> io::Result<()> {
        signal("TERM", self.id())
    }

    /// Halts the program without ending it, as a machine does that hangs.
    pub fn pause(&self) -> io::Result<()> {
        signal("STOP", self.id())
    }

    /// Lets a paused program go on.
    pub fn resume(&self) -> io::Result<()> {
        signal("CONT", self.id())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails only for a program that has ended already. Waiting reaps it and closes the pipe, at which the watcher ends.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `kill` is a shell builtin everywhere, while the program of that name is missing from slim images.
fn signal(name: &str, id: u32) -> io::Result<()> {
    let output =
        Command::new("/bin/sh").args(["-c", "kill -s \"$1\" \"$2\"", "signal", name, &id.to_string()]).output()?;
    if output.status.success() {
        Ok(())
    } else {
        Err(io::Error::other(format!(
            "sending SIG{name} to process {id}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        )))
    }
}

fn tail(path: &Path, start: u64) -> io::Result<String> {
    use std::io::{Read, Seek, SeekFrom};
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(last_lines(&String::from_utf8_lossy(&bytes), TAIL_LINES))
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

/// A temporary folder that goes away when this is dropped or when this process ends, however it ends.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    janitor: Child,
}

impl Folder {
    /// Makes a new folder that only this user may enter.
    pub(crate) fn new(prefix: &str) -> io::Result<Self> {
        // Until the janitor stands by, tempfile's own guard removes the folder.
        let guard = tempfile::Builder::new().prefix(prefix).tempdir()?;
        let janitor = Command::new("/bin/sh")
            .args(["-c", JANITOR, "janitor"])
            .arg(guard.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        Ok(Self { path: guard.keep(), janitor })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(self.janitor.stdin.take());
        let _ = self.janitor.wait();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn the_tail_of_a_log_is_its_last_lines() {
        assert_eq!(last_lines("a\nb\nc\n", 2), "b\nc");
        assert_eq!(last_lines("a", 2), "a");
        assert_eq!(last_lines("", 2), "");
    }

    #[test]
    fn a_restarted_program_shows_the_log_of_its_own_run_only() {
        let folder = Folder::new("devkit-process-").unwrap();
        let log = folder.path().join("log");
        let run = |text: &str| {
            let mut process =
                Process::spawn("echo", Path::new("/bin/sh"), ["-c", "echo \"$1\"; exit 3", "sh", text], &log, |_| {})
                    .unwrap();
            let status = loop {
                if let Some(status) = process.try_wait().unwrap() {
                    break status;
                }
                std::thread::yield_now();
            };
            (status.code(), process.log_tail())
        };
        assert_eq!(run("first"), (Some(3), "first".to_owned()));
        assert_eq!(run("second"), (Some(3), "second".to_owned()));
    }

    #[test]
    fn a_dropped_folder_is_gone_with_what_is_in_it() {
        let folder = Folder::new("devkit-folder-").unwrap();
        let path = folder.path().to_owned();
        std::fs::create_dir(path.join("inner")).unwrap();
        std::fs::write(path.join("inner/file"), "x").unwrap();
        drop(folder);
        assert!(!path.exists());
    }
}
