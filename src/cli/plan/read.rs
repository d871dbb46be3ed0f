//! Manifests: files, folders and standard input, as documents. What is wrong with them is said without quoting them.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// The most that is read of one file.
const MAX_FILE: u64 = 64 << 20;
/// How deep lists may be in lists.
const MAX_DEPTH: usize = 8;

/// Why the manifests cannot be read. Never holds their text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Not there, or not to be read.
    #[error("{file}: {why}")]
    Io {
        /// The file.
        file: String,
        /// Why, as the system says.
        why: String,
    },
    /// Too large, or not text.
    #[error("{file}: {what}")]
    Form {
        /// The file.
        file: String,
        /// What is wrong.
        what: &'static str,
    },
    /// Not YAML.
    #[error("{file}, document {document}, line {line}: this cannot be read as YAML{hint}")]
    Yaml {
        /// The file.
        file: String,
        /// Which document in it, from 1.
        document: usize,
        /// Which line of the file, from 1.
        line: u64,
        /// What it may be.
        hint: &'static str,
    },
}

/// One object of the manifests. Without `Debug`: values are in it.
#[derive(Clone)]
pub struct Document {
    /// The file that it is in.
    pub file: String,
    /// What it says.
    pub value: Value,
}

impl Document {
    /// A text in it, empty when there is none.
    #[must_use]
    pub fn text(&self, pointer: &str) -> &str {
        self.value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }
}

/// Reads what was named: files, folders with all that is in them, and `-` for standard input.
///
/// # Errors
/// The first file that cannot be read.
pub fn read(paths: &[PathBuf]) -> Result<Vec<Document>, ReadError> {
    let mut documents = Vec::new();
    let mut seen = BTreeSet::new();
    for path in paths {
        if path == Path::new("-") {
            let text = text_of("standard input", std::io::stdin().lock())?;
            documents.extend(parse("standard input", &text)?);
            continue;
        }
        for file in files(path)? {
            // A file that is named twice is one file.
            if !seen.insert(file.canonicalize().unwrap_or_else(|_| file.clone())) {
                continue;
            }
            let name = file.display().to_string();
            let opened = fs::File::open(&file).map_err(|error| io(&file, &error))?;
            documents.extend(parse(&name, &text_of(&name, opened)?)?);
        }
    }
    Ok(documents)
}

/// The manifests at a path, in the order of their names. A file that is named is read whatever it is called.
fn files(path: &Path) -> Result<Vec<PathBuf>, ReadError> {
    let about = fs::metadata(path).map_err(|error| io(path, &error))?;
    if !about.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    let mut entries: Vec<_> = fs::read_dir(path)
        .map_err(|error| io(path, &error))?
        .collect::<Result<_, _>>()
        .map_err(|error| io(path, &error))?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (path, name) = (entry.path(), entry.file_name());
        if name.to_string_lossy().starts_with('.') {
            continue;
        }
        // A link to a folder is not followed: it may lead round in a circle.
        let kind = entry.file_type().map_err(|error| io(&path, &error))?;
        if kind.is_dir() {
            found.extend(files(&path)?);
        } else if path.is_file() && is_manifest(&path) {
            found.push(path);
        }
    }
    Ok(found)
}

fn is_manifest(path: &Path) -> bool {
    path.extension().is_some_and(|e| ["yaml", "yml", "json"].iter().any(|known| e.eq_ignore_ascii_case(known)))
}

fn io(path: &Path, error: &std::io::Error) -> ReadError {
    ReadError::Io { file: path.display().to_string(), why: error.to_string() }
}

fn text_of(file: &str, from: impl std::io::Read) -> Result<String, ReadError> {
    let mut bytes = Vec::new();
    from.take(MAX_FILE + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| ReadError::Io { file: file.to_owned(), why: error.to_string() })?;
    let wrong = |what| ReadError::Form { file: file.to_owned(), what };
    if bytes.len() as u64 > MAX_FILE {
        return Err(wrong("it is larger than 64 MiB"));
    }
    String::from_utf8(bytes).map_err(|_| wrong("it is not UTF-8"))
}

/// The objects of a text, those in lists too.
///
/// # Errors
/// Where it is no YAML.
pub fn parse(file: &str, text: &str) -> Result<Vec<Document>, ReadError> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).map_err(|error| {
        // Its own text quotes the manifest.
        let line = error.location().map_or(1, |at| at.line());
        ReadError::Yaml { file: file.to_owned(), document: document_at(text, line), line, hint: hint(text, line) }
    })?;
    let mut found = Vec::new();
    for document in documents {
        collect(file, document, &mut found, 0);
    }
    Ok(found)
}

/// Which document of a text a line is in, from 1.
fn document_at(text: &str, line: u64) -> usize {
    let mut document = 1;
    let mut anything = false;
    for line in text.lines().take(usize::try_from(line).unwrap_or(usize::MAX)) {
        if line == "---" || line.starts_with("--- ") {
            document += usize::from(anything);
            anything = true;
        } else if !line.trim().is_empty() && !line.starts_with('#') {
            anything = true;
        }
    }
    document
}

/// What is often wrong.
fn hint(text: &str, line: u64) -> &'static str {
    let at = usize::try_from(line).unwrap_or(1).saturating_sub(1);
    let near = |text: &str, what: &str| text.lines().skip(at.saturating_sub(1)).take(2).any(|l| l.contains(what));
    if near(text, "\t") {
        "; there is a tab, and YAML is indented with spaces"
    } else if near(text, "{{") {
        "; a value that begins with {{ has to be in quotes, and charts and overlays have to be rendered first"
    } else {
        ""
    }
}

fn collect(file: &str, value: Value, found: &mut Vec<Document>, depth: usize) {
    let is_list = value["kind"].as_str().is_some_and(|kind| kind.ends_with("List")) && value["items"].is_array();
    if !is_list {
        if value.is_object() {
            found.push(Document { file: file.to_owned(), value });
        }
        return;
    }
    if let Value::Object(mut fields) = value
        && let Some(Value::Array(items)) = fields.remove("items")
        && depth < MAX_DEPTH
    {
        for item in items {
            collect(file, item, found, depth + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn documents_lists_and_json_are_read_and_what_is_nothing_is_passed_over() {
        let text = "# nothing\n---\nkind: A\n---\n---\nkind: List\nitems:\n- kind: B\n- kind: CList\n  items: [{kind: C}]\n---\nnull\n---\n7\n";
        let kinds: Vec<_> = parse("x", text).unwrap().iter().map(|d| d.text("/kind").to_owned()).collect();
        assert_eq!(kinds, ["A", "B", "C"]);
        assert_eq!(parse("x", "{\"kind\": \"A\"}").unwrap().len(), 1);
        assert!(parse("x", "").unwrap().is_empty());
    }

    #[test]
    fn an_error_names_the_place_and_quotes_nothing() {
        for (text, document, line) in [
            ("kind: A\n---\nkind: B\nvalue: [hunter2\n", 2, 4),
            ("---\nkind: A\nvalue: \"hunter2\nother: x\n", 1, 3),
            ("kind: A\n---\nvalue: hunter2\nvalue: hunter2\n", 2, 4),
            ("kind: A\nvalue: {{ hunter2 }}x\n", 1, 2),
            ("kind: A\nspec:\n\tvalue: hunter2\n", 1, 3),
            ("kind: A\nvalue: *hunter2\n", 1, 2),
            ("kind: A\nvalue: !!int hunter2\n", 1, 2),
        ] {
            let error = parse("a.yaml", text).err().expect(text);
            let said = format!("{error} {error:?}");
            assert!(!said.contains("hunter2"), "{said}");
            let ReadError::Yaml { document: d, line: l, .. } = error else { panic!("{error}") };
            assert_eq!(d, document, "{text}");
            assert!(l.abs_diff(line) <= 1, "{text}: line {l}");
        }
    }

    #[test]
    fn folders_are_read_in_order_without_what_is_hidden_or_something_else() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, format!("kind: {}", name.replace(['/', '.'], "-"))).unwrap();
        };
        ["b.yml", "a/x.yaml", "a/y.JSON", ".git/c.yaml", "a/.d.yaml", "README.md"].into_iter().for_each(write);
        let kinds = |paths: &[PathBuf]| -> Vec<String> {
            read(paths).unwrap().iter().map(|d| d.text("/kind").to_owned()).collect()
        };
        let all = folder.path().to_owned();
        assert_eq!(kinds(std::slice::from_ref(&all)), ["a-x-yaml", "a-y-JSON", "b-yml"]);
        assert_eq!(kinds(&[all.clone(), all.join("a")]), ["a-x-yaml", "a-y-JSON", "b-yml"], "each once");
        assert_eq!(kinds(&[all.join("README.md")]), ["README-md"], "what is named is read");
        assert!(read(&[all.join("nowhere")]).err().unwrap().to_string().contains("nowhere"));
    }
}
