//! What is printed for a person: tables and ages as kubectl writes them, colour on a terminal only, questions.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use anyhow::Context as _;
use clap::ValueEnum;
use jiff::Timestamp;
use serde::Serialize;

/// What is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For a person
    Table,
    /// For a person with a wide terminal
    Wide,
    /// For programs
    Json,
    /// For programs
    Yaml,
}

/// How a text looks on a terminal with colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Paint {
    /// As it is.
    #[default]
    Plain,
    /// All is well.
    Good,
    /// Under way.
    Moving,
    /// Something is wrong.
    Bad,
}

impl Paint {
    fn code(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Good => Some("\x1b[32m"),
            Self::Moving => Some("\x1b[33m"),
            Self::Bad => Some("\x1b[31m"),
        }
    }
}

/// A cell of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Cell {
    text: String,
    paint: Paint,
}

impl Cell {
    /// A text in a colour.
    pub(super) fn painted(text: impl Into<String>, paint: Paint) -> Self {
        Self { text: text.into(), paint }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::painted(text, Paint::Plain)
    }
}

/// A table with aligned columns, as kubectl prints it.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// One with these heads.
    pub(super) fn new(heads: &[&str]) -> Self {
        Self { rows: vec![heads.iter().map(|&head| Cell::from(head)).collect()] }
    }

    /// Adds a row.
    pub(super) fn row(&mut self, cells: Vec<Cell>) {
        let shown = |cell: Cell| {
            let text = one_line(&cell.text);
            Cell { text: if text.is_empty() { "-".to_owned() } else { text }, ..cell }
        };
        self.rows.push(cells.into_iter().map(shown).collect());
    }

    /// The widths of its columns.
    pub(super) fn widths(&self) -> Vec<usize> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column| {
            self.rows.iter().filter_map(|row| row.get(column)).map(|cell: &Cell| cell.text.chars().count()).max()
        };
        (0..columns).map(|column| width(column).unwrap_or(0)).collect()
    }

    /// The text, with columns at least that wide; each line begins with `indent`.
    pub(super) fn text(&self, indent: &str, colour: bool, at_least: &[usize]) -> String {
        let widths: Vec<usize> = self.widths();
        let mut out = String::new();
        for row in &self.rows {
            out.push_str(indent);
            for (column, cell) in row.iter().enumerate() {
                let width = widths[column].max(at_least.get(column).copied().unwrap_or(0));
                match cell.paint.code().filter(|_| colour) {
                    Some(code) => out.push_str(&format!("{code}{}\x1b[0m", cell.text)),
                    None => out.push_str(&cell.text),
                }
                if column + 1 < row.len() {
                    let gap = width - cell.text.chars().count() + 3;
                    out.push_str(&" ".repeat(gap));
                }
            }
            out.push('\n');
        }
        out
    }

    /// The same without the heads.
    pub(super) fn body(&self, colour: bool, at_least: &[usize]) -> String {
        let text = self.text("", colour, at_least);
        text.split_once('\n').map(|(_, rest)| rest.to_owned()).unwrap_or_default()
    }
}

/// Text of somebody else that must not speak to the terminal.
pub(super) fn one_line(text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A text in a colour.
pub(super) fn painted(text: &str, paint: Paint, colour: bool) -> String {
    match paint.code().filter(|_| colour) {
        Some(code) => format!("{code}{text}\x1b[0m"),
        None => text.to_owned(),
    }
}

/// A span of time as kubectl writes ages: `45s`, `5m3s`, `3h20m`, `5d3h`.
pub(super) fn span(seconds: i64) -> String {
    let s = seconds.max(0);
    let (m, h, d) = (s / 60, s / 3600, s / 86_400);
    let with = |major: i64, unit: &str, minor: i64, small: &str| {
        if minor == 0 { format!("{major}{unit}") } else { format!("{major}{unit}{minor}{small}") }
    };
    match s {
        0..120 => format!("{s}s"),
        120..600 => with(m, "m", s % 60, "s"),
        600..10_800 => format!("{m}m"),
        10_800..28_800 => with(h, "h", m % 60, "m"),
        28_800..172_800 => format!("{h}h"),
        172_800..691_200 => with(d, "d", h % 24, "h"),
        691_200..63_072_000 => format!("{d}d"),
        63_072_000..252_288_000 => with(d / 365, "y", d % 365, "d"),
        _ => format!("{}y", d / 365),
    }
}

/// How long ago something was.
pub(super) fn age(at: Option<Timestamp>, now: Timestamp) -> String {
    at.map_or_else(|| "<unknown>".to_owned(), |at| span(now.as_second() - at.as_second()))
}

/// Whether standard output takes colours.
pub(super) fn colours() -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    std::io::stdout().is_terminal() && !set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// A value for programs.
///
/// # Errors
/// When it cannot be written in that form.
pub(super) fn for_programs(value: &impl Serialize, output: Output) -> anyhow::Result<String> {
    match output {
        Output::Yaml => serde_saphyr::to_string(value).context("as YAML"),
        _ => Ok(format!("{}\n", serde_json::to_string_pretty(value).context("as JSON")?)),
    }
}

/// What a question came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Go on.
    Yes,
    /// Do nothing.
    No,
}

/// Asks a person at a terminal, unless `yes` was given. Where nobody can be asked, a script has decided: whoever wrote the command.
pub(super) fn ask(question: &str, yes: bool) -> Answer {
    if yes {
        return Answer::Yes;
    }
    let mut err = std::io::stderr();
    if !std::io::stdin().is_terminal() || !err.is_terminal() {
        return Answer::Yes;
    }
    let _ = write!(err, "{question} [y/N] ");
    let _ = err.flush();
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line);
    if read.is_ok() && is_yes(&line) { Answer::Yes } else { Answer::No }
}

fn is_yes(line: &str) -> bool {
    ["y", "yes"].contains(&line.trim().to_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn ages_are_as_kubectl_writes_them() {
        let minute = 60;
        let (hour, day) = (60 * minute, 24 * 60 * minute);
        for (seconds, text) in [
            (-3, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (5 * minute + 3, "5m3s"),
            (10 * minute + 3, "10m"),
            (2 * hour + 59 * minute, "179m"),
            (3 * hour + 20 * minute, "3h20m"),
            (8 * hour + 20 * minute, "8h"),
            (47 * hour, "47h"),
            (5 * day + 3 * hour, "5d3h"),
            (8 * day + 3 * hour, "8d"),
            (729 * day, "729d"),
            (730 * day, "2y"),
            (800 * day, "2y70d"),
            (9 * 365 * day, "9y"),
        ] {
            assert_eq!(span(seconds), text, "{seconds}");
        }
        assert_eq!(age(None, Timestamp::UNIX_EPOCH), "<unknown>");
    }

    #[test]
    fn columns_are_aligned_with_and_without_colour() {
        let mut table = Table::new(&["NAME", "READY", "AGE"]);
        table.row(vec!["a".into(), Cell::painted("True", Paint::Good), "5m".into()]);
        table.row(vec!["a-long-name".into(), Cell::painted("False", Paint::Bad), "".into()]);
        assert_eq!(
            table.text("", false, &[]),
            "NAME          READY   AGE\na             True    5m\na-long-name   False   -\n"
        );
        let coloured = table.text("", true, &[]);
        assert!(coloured.contains("\x1b[32mTrue\x1b[0m    5m"), "{coloured:?}");
        let plain: String = coloured.replace("\x1b[32m", "").replace("\x1b[31m", "").replace("\x1b[0m", "");
        assert_eq!(plain, table.text("", false, &[]));
        assert_eq!(table.body(false, &[12]).lines().next(), Some("a              True    5m"));
    }

    #[test]
    fn a_name_does_not_speak_to_the_terminal() {
        let mut table = Table::new(&["NAME"]);
        table.row(vec!["a\x1b[31mb\nc".into()]);
        assert_eq!(table.text("", true, &[]), "NAME\na [31mb c\n");
    }

    #[test]
    fn yes_is_said_and_not_guessed() {
        for (line, yes) in [("y\n", true), (" YES \n", true), ("\n", false), ("yep\n", false), ("n\n", false)] {
            assert_eq!(is_yes(line), yes, "{line:?}");
        }
        assert_eq!(ask("really?", true), Answer::Yes);
    }
}
