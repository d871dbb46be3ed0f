//! Running the system's commands.

use std::ffi::OsStr;
use std::process::Command;

use super::error::Error;
use super::missing::which;

/// Runs a command that must succeed; its standard output.
pub(super) fn output<S: AsRef<OsStr>>(program: &str, args: impl IntoIterator<Item = S>) -> Result<String, Error> {
    let mut command = Command::new(which(program).unwrap_or_else(|| program.into()));
    command.args(args);
    run(&mut command)
}

/// The same for a command that is made already.
pub(super) fn run(command: &mut Command) -> Result<String, Error> {
    let shown = || {
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
    };
    let shown = shown();
    let done = command.output().map_err(Error::io(format!("running {shown}")))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if done.status.success() {
        return Ok(text(&done.stdout));
    }
    let output = format!("{} {}", text(&done.stdout), text(&done.stderr)).trim().to_owned();
    Err(Error::Command { command: shown, output: format!("{output} ({})", done.status) })
}
