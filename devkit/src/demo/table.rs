//! Plain tables.

/// Text columns under a heading, each as wide as its widest cell; a cell that is a number or a time is set to the right.
pub(crate) fn render(heading: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([heading.get(column).map_or(0, |text| text.chars().count())]).max().unwrap_or(0)
    };
    let right =
        |column: usize| !rows.is_empty() && rows.iter().all(|row| row.get(column).is_some_and(|c| is_number(c)));
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let cells = cells.enumerate().map(|(column, cell)| {
            let (width, right) = (width(column), right(column));
            if right { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
        });
        cells.collect::<Vec<_>>().join("   ").trim_end().to_owned()
    };
    let mut lines = vec![line(&mut heading.iter().copied())];
    lines.extend(rows.iter().map(|row| line(&mut row.iter().map(String::as_str))));
    lines.join("\n")
}

/// `3`, `0.21 s` or `–`.
fn is_number(cell: &str) -> bool {
    cell == NOTHING || cell.trim_end_matches(" s").parse::<f64>().is_ok()
}

/// A cell without a number.
pub(crate) const NOTHING: &str = "–";

/// A duration as a cell.
pub(crate) fn seconds(duration: std::time::Duration) -> String {
    format!("{:.2} s", duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use std::time::Duration;

    use super::*;

    fn row(cells: &[&str]) -> Vec<String> {
        cells.iter().map(|&cell| cell.to_owned()).collect()
    }

    #[test]
    fn numbers_are_set_to_the_right_and_text_to_the_left() {
        let rows = [row(&["source changed", "0.21 s", "1"]), row(&["at rest", "–", "10"])];
        let table = render(&["WHAT", "AFTER", "WRITES"], &rows);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines[0], "WHAT              AFTER   WRITES");
        assert_eq!(lines[1], "source changed   0.21 s        1");
        assert_eq!(lines[2], "at rest               –       10");
    }

    #[test]
    fn a_column_with_one_text_is_set_to_the_left_and_nothing_trails() {
        let table = render(&["A", "B"], &[row(&["1", "x"]), row(&["eleven", "2"])]);
        assert_eq!(table, "A        B\n1        x\neleven   2");
    }

    #[test]
    fn a_table_without_rows_is_its_heading() {
        assert_eq!(render(&["A", "B"], &[]), "A   B");
    }

    #[test]
    fn durations_have_two_places() {
        assert_eq!(seconds(Duration::from_millis(1234)), "1.23 s");
    }
}
