//! What a template may hold, judged from its tokens before anything is compiled, and which keys it refers to.
//!
//! The engine's compiler recurses over what it compiles, without a limit for chains (`a|b|b|…`, `a.b.b…`, `{% elif %}`): a
//! long one ends the process. And its fuel does not count what is inside of lists: one that holds itself twice, thirty times
//! over, is written out for ever. So the number of tokens of an expression is limited, and a list that is bound to a name
//! holds constants only. The tokens are the engine's own, so there are no two opinions about where a string ends.

use std::collections::{BTreeMap, BTreeSet};

use minijinja::machinery::{Token, tokenize};
use minijinja::syntax::SyntaxConfig;

use super::error::{Cause, TemplateError, told};
use super::{MOST_TEMPLATE, filters};

/// The most tokens of one expression or statement.
const MOST_TOKENS: usize = 250;
/// The most `elif`s of a template.
const MOST_ELIFS: usize = 50;
/// How deep brackets, and blocks, may stand in each other.
const MOST_DEPTH: usize = 20;

/// The name of all values together.
pub(super) const VALUES: &str = "values";

/// Words that are no variables.
const KEYWORDS: [&str; 12] = ["and", "or", "not", "in", "is", "if", "else", "true", "false", "none", "True", "False"];
/// The statements that there are.
const STATEMENTS: [&str; 8] = ["if", "elif", "else", "endif", "for", "endfor", "set", "endset"];

const NO_STATEMENT: &str = "there is no such statement; there are if, for, set and raw";
const NO_TIMES: &str = "there is no * and no **";
const NO_PLUS: &str = "there is no + in set and for; texts are joined with ~";
const NO_RECURSION: &str = "there are no recursive loops";
const CONSTANTS_ONLY: &str = "in set and for, a list or map may hold constants only";

/// What a template refers to, as far as its tokens tell: never too little.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct References {
    /// Names in the place of a variable, with the lines they are on.
    names: BTreeMap<String, BTreeSet<usize>>,
    /// `values["name"]` and `values.name`.
    members: BTreeSet<String>,
    /// `values` in any other way.
    whole: bool,
}

impl References {
    /// Whether the template names a key.
    pub fn names(&self, key: &str) -> bool {
        (key != VALUES && self.names.contains_key(key)) || self.members.contains(key)
    }

    /// Whether it uses all values.
    pub fn is_whole(&self) -> bool {
        self.whole
    }

    /// Keys whose names are like one that is used (on that line, if there is one) and is none.
    pub fn similar<'k>(&self, line: Option<usize>, keys: impl Iterator<Item = &'k str> + Clone) -> Vec<String> {
        let on_line = |lines: &BTreeSet<usize>| line.is_none_or(|line| lines.contains(&line));
        let used = self.names.iter().filter(|(_, lines)| on_line(lines)).map(|(name, _)| name);
        let unknown = used.chain(&self.members).filter(|name| !keys.clone().any(|key| key == *name));
        let found: BTreeSet<&str> = unknown.flat_map(|name| keys.clone().filter(|key| is_like(key, name))).collect();
        found.into_iter().take(3).map(str::to_owned).collect()
    }
}

/// Whether two names differ by case, punctuation or little else.
fn is_like(one: &str, other: &str) -> bool {
    let plain = |name: &str| -> Vec<char> {
        name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).take(64).collect()
    };
    let (one, other) = (plain(one), plain(other));
    if one == other {
        return true;
    }
    if one.len().min(other.len()) < 4 || one.len().abs_diff(other.len()) > 2 {
        return false;
    }
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in other.iter().enumerate() {
            let changed = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[other.len()] <= 2
}

/// Judges a template and tells what it refers to.
pub(super) fn examine(source: &str) -> Result<References, TemplateError> {
    if source.len() > MOST_TEMPLATE {
        return Err(TemplateError::whole(Cause::TooLong));
    }
    let mut references = References::default();
    let mut part: Vec<(Token<'_>, usize)> = Vec::new();
    let (mut elifs, mut depth) = (0, 0_usize);
    for token in tokenize(source, false, SyntaxConfig::default()) {
        let (token, span) = token.map_err(|error| told(&error, |_| Vec::new()))?;
        let line = usize::from(span.start_line);
        match token {
            Token::TemplateData(_) => {}
            Token::VariableStart | Token::BlockStart => part.clear(),
            Token::VariableEnd => Part::expression(&part).examine(&mut references)?,
            Token::BlockEnd => {
                let part = Part::statement(&part)?;
                match part.statement {
                    Some("elif") => elifs += 1,
                    Some("if" | "for") => depth += 1,
                    Some("endif" | "endfor") => depth = depth.saturating_sub(1),
                    _ => {}
                }
                part.examine(&mut references)?;
            }
            token => part.push((token, line)),
        }
        if part.len() > MOST_TOKENS || elifs > MOST_ELIFS || depth > MOST_DEPTH {
            return Err(TemplateError::at(line, Cause::TooComplex));
        }
    }
    Ok(references)
}

/// One `{{ … }}` or `{% … %}`.
struct Part<'p, 's> {
    tokens: &'p [(Token<'s>, usize)],
    statement: Option<&'s str>,
}

/// What an open bracket is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Open {
    /// A list or a map.
    Literal,
    /// Arguments.
    Call,
    /// A subscript.
    Subscript,
    /// Parentheses around an expression.
    Group,
}

impl<'p, 's> Part<'p, 's> {
    fn expression(tokens: &'p [(Token<'s>, usize)]) -> Self {
        Self { tokens, statement: None }
    }

    fn statement(tokens: &'p [(Token<'s>, usize)]) -> Result<Self, TemplateError> {
        match tokens.split_first() {
            Some(((Token::Ident(name), _), rest)) if STATEMENTS.contains(name) => {
                Ok(Self { tokens: rest, statement: Some(name) })
            }
            first => {
                let line = first.map_or(0, |((_, line), _)| *line);
                Err(TemplateError::at(line, Cause::NotAllowed(NO_STATEMENT)))
            }
        }
    }

    fn token(&self, index: usize) -> Option<&Token<'s>> {
        self.tokens.get(index).map(|(token, _)| token)
    }

    fn before(&self, index: usize) -> Option<&Token<'s>> {
        index.checked_sub(1).and_then(|index| self.token(index))
    }

    fn two_before(&self, index: usize) -> Option<&Token<'s>> {
        index.checked_sub(2).and_then(|index| self.token(index))
    }

    fn examine(&self, references: &mut References) -> Result<(), TemplateError> {
        let binds = matches!(self.statement, Some("set" | "for"));
        // What follows is bound: after the first `in` of a `for`, after the `=` of a `set`.
        let mut bound = false;
        let mut open: Vec<Open> = Vec::new();
        for (index, (token, line)) in self.tokens.iter().enumerate() {
            let refuse = |what| Err(TemplateError::at(*line, Cause::NotAllowed(what)));
            match token {
                Token::Mul | Token::Pow => return refuse(NO_TIMES),
                Token::Plus if binds => return refuse(NO_PLUS),
                Token::Comma if bound && matches!(open.last(), None | Some(Open::Group)) => {
                    return refuse(CONSTANTS_ONLY);
                }
                Token::BracketOpen if self.is_after_operand(index) => open.push(Open::Subscript),
                Token::ParenOpen if self.is_after_operand(index) => open.push(Open::Call),
                Token::ParenOpen => open.push(Open::Group),
                Token::BracketOpen | Token::BraceOpen => open.push(Open::Literal),
                Token::BracketClose | Token::BraceClose | Token::ParenClose => drop(open.pop()),
                Token::Assign if self.statement == Some("set") && open.is_empty() => bound = true,
                Token::Ident("in") if self.statement == Some("for") && open.is_empty() => bound = true,
                Token::Ident("recursive") if self.statement == Some("for") => return refuse(NO_RECURSION),
                Token::Ident(name) => self.name(index, name, *line, bound, &open, references)?,
                _ => {}
            }
            if open.len() > MOST_DEPTH {
                return Err(TemplateError::at(*line, Cause::TooComplex));
            }
        }
        Ok(())
    }

    /// A name: of a filter, a test, an attribute, an argument or a variable.
    fn name(
        &self,
        index: usize,
        name: &'s str,
        line: usize,
        bound: bool,
        open: &[Open],
        references: &mut References,
    ) -> Result<(), TemplateError> {
        match self.before(index) {
            Some(Token::Pipe) => {
                return match filters::unknown(name) {
                    Some(hint) => Err(TemplateError::at(line, Cause::UnknownFilter(hint))),
                    None => Ok(()),
                };
            }
            Some(Token::Dot) => return Ok(()),
            Some(Token::Ident("is")) if name != "not" => return test(name, line),
            Some(Token::Ident("not")) if matches!(self.two_before(index), Some(Token::Ident("is"))) => {
                return test(name, line);
            }
            _ => {}
        }
        let is_argument = open.last() == Some(&Open::Call) && matches!(self.token(index + 1), Some(Token::Assign));
        if KEYWORDS.contains(&name) || is_argument {
            return Ok(());
        }
        if bound && open.contains(&Open::Literal) {
            return Err(TemplateError::at(line, Cause::NotAllowed(CONSTANTS_ONLY)));
        }
        references.names.entry(name.to_owned()).or_default().insert(line);
        if name == VALUES {
            match (self.token(index + 1), self.token(index + 2), self.token(index + 3)) {
                (Some(Token::Dot), Some(Token::Ident(member)), _) => {
                    references.members.insert((*member).to_owned());
                }
                (Some(Token::BracketOpen), Some(Token::Str(member)), Some(Token::BracketClose)) => {
                    references.members.insert((*member).to_owned());
                }
                (Some(Token::BracketOpen), Some(Token::String(member)), Some(Token::BracketClose)) => {
                    references.members.insert(member.to_string());
                }
                _ => references.whole = true,
            }
        }
        Ok(())
    }

    /// Whether a bracket at this place belongs to what stands before it.
    fn is_after_operand(&self, index: usize) -> bool {
        match self.before(index) {
            Some(Token::Ident(name)) => {
                // A key may be called like a keyword where no keyword can stand.
                let member = matches!(self.two_before(index), Some(Token::Dot | Token::Pipe));
                member || !KEYWORDS.contains(name)
            }
            Some(Token::Str(_) | Token::String(_)) => true,
            Some(Token::BracketClose | Token::BraceClose | Token::ParenClose) => true,
            _ => false,
        }
    }
}

fn test(name: &str, line: usize) -> Result<(), TemplateError> {
    if filters::TESTS.contains(&name) { Ok(()) } else { Err(TemplateError::at(line, Cause::UnknownTest)) }
}
