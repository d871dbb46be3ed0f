//! What filters do to text.

/// The longest list that a filter makes.
pub(super) const MOST_ITEMS: usize = 4096;

/// The first letter in upper case, the others in lower case.
pub(super) fn capitalize(text: &str) -> String {
    let mut letters = text.chars();
    letters
        .next()
        .map_or_else(String::new, |first| first.to_uppercase().collect::<String>() + &letters.as_str().to_lowercase())
}

/// Parts between separators; without one, the words. No more than one too many for a list.
pub(super) fn split(text: &str, separator: Option<&str>) -> Vec<String> {
    match separator {
        Some(separator) => text.split(separator).take(MOST_ITEMS + 1).map(str::to_owned).collect(),
        None => text.split_whitespace().take(MOST_ITEMS + 1).map(str::to_owned).collect(),
    }
}

/// Lines with spaces before them: without `first` not the first one, without `blank` none that are empty.
pub(super) fn indent(text: &str, width: usize, first: bool, blank: bool) -> String {
    let space = " ".repeat(width);
    let mut out = String::with_capacity(text.len() + width);
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let wanted = if number == 0 { first } else { blank || !line.trim_end_matches(['\r', '\n']).is_empty() };
        if wanted {
            out.push_str(&space);
        }
        out.push_str(line);
    }
    out
}
