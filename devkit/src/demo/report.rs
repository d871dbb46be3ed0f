//! What the terminal shows. Everything that the demo prints goes through here, and no value gets past.

use std::io::{IsTerminal as _, Write as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::mask::Mask;
use super::table::{self, seconds};

/// Back to the line's start, and empty it.
const CLEAR: &str = "\r\x1b[2K";

/// How much of a line that is replaced again is shown: one that wraps could not be taken back.
const PENDING: usize = 60;

/// How a text is set off on a terminal.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Style {
    /// As it is.
    Plain,
    /// A heading.
    Bold,
    /// Good news.
    Green,
    /// Bad news.
    Red,
    /// Beside the point.
    Dim,
}

impl Style {
    fn code(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Bold => Some("1"),
            Self::Green => Some("32"),
            Self::Red => Some("31"),
            Self::Dim => Some("2"),
        }
    }
}

/// A line of the table at the end.
type Row = Vec<String>;

#[derive(Default)]
struct State {
    /// A line stands there that the next one replaces.
    pending: bool,
    rows: Vec<Row>,
}

/// Prints lines and remembers the results.
pub(crate) struct Reporter {
    /// What must not be shown.
    pub(crate) mask: Arc<Mask>,
    colour: bool,
    /// Whether a line may be replaced by another: on a terminal, unless a log runs in between.
    live: bool,
    state: Mutex<State>,
}

impl Reporter {
    /// For standard output as it is.
    pub(crate) fn new(mask: Arc<Mask>, verbose: bool) -> Self {
        let terminal = std::io::stdout().is_terminal();
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|text| !text.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|text| text == "dumb");
        Self {
            mask,
            colour: terminal && !no_colour && !dumb,
            live: terminal && !dumb && !verbose,
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn paint(&self, style: Style, text: &str) -> String {
        paint(self.colour, style, text)
    }

    /// `text` is masked before it is painted. A closed standard output is no reason to stop half way.
    fn print(&self, text: &str) {
        let mut state = self.state();
        let mut out = std::io::stdout().lock();
        let clear = if std::mem::take(&mut state.pending) { CLEAR } else { "" };
        let _ = writeln!(out, "{clear}{text}");
        let _ = out.flush();
    }

    /// Text of one or more lines.
    pub(crate) fn text(&self, style: Style, text: &str) {
        for line in self.mask.hide(text).lines() {
            self.print(&self.paint(style, line));
        }
    }

    /// Text that belongs to the line before.
    pub(crate) fn indented(&self, text: &str) {
        for line in self.mask.hide(text).lines() {
            self.print(&self.paint(Style::Dim, &format!("                {line}")));
        }
    }

    /// The heading of a part.
    pub(crate) fn heading(&self, text: &str) {
        self.print("");
        self.text(Style::Bold, text);
    }

    /// Says what is awaited, on a terminal, until the next line comes.
    pub(crate) fn pending(&self, text: &str) {
        if !self.live {
            return;
        }
        let text: String = self.mask.hide(text).chars().take(PENDING).collect();
        let mut state = self.state();
        let mut out = std::io::stdout().lock();
        let _ = write!(out, "{CLEAR}  {}", self.paint(Style::Dim, &format!("…             {text}")));
        let _ = out.flush();
        state.pending = true;
    }

    /// A step was seen.
    pub(crate) fn done(&self, took: Duration, text: &str) {
        let text = self.mask.hide(text);
        self.print(&format!("  {}  {:>8}  {text}", self.paint(Style::Green, "ok"), seconds(took)));
    }

    /// Adds a line to the table at the end.
    pub(crate) fn row(&self, what: &str, after: &str, writes: usize) {
        self.state().rows.push(vec![what.to_owned(), after.to_owned(), writes.to_string()]);
    }

    /// Prints the table.
    pub(crate) fn table(&self) {
        let rows = std::mem::take(&mut self.state().rows);
        let table = table::render(&["WHAT HAPPENED", "PUT RIGHT AFTER", "REMOTE WRITES"], &rows);
        self.text(Style::Plain, &table);
    }
}

fn paint(colour: bool, style: Style, text: &str) -> String {
    match style.code() {
        Some(code) if colour && !text.is_empty() => format!("\x1b[{code}m{text}\x1b[0m"),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn without_a_terminal_there_is_no_escape_sequence() {
        assert_eq!(paint(false, Style::Red, "FAILED"), "FAILED");
        assert_eq!(paint(true, Style::Red, "FAILED"), "\x1b[31mFAILED\x1b[0m");
        assert_eq!(paint(true, Style::Plain, "text"), "text");
    }
}
