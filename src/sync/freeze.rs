//! Mass divergence: when so much of a remote changed at once that it is probably not the remote that we think it is.

/// What a snapshot shows of a connection's own entries that count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Entries that are ours and for which the snapshot counts.
    pub own: usize,
    /// Of these, absent from the list.
    pub missing: usize,
    /// Of these, with another stamp than our last write got.
    pub moved: usize,
}

/// The number of entries that may be missing or moved before we freeze: the larger of 5 and a fifth of all.
#[must_use]
pub fn tolerated(own: usize) -> usize {
    (own / 5).max(5)
}

impl Tally {
    /// Whether more than the tolerated number is missing or moved.
    #[must_use]
    pub fn diverged(&self) -> bool {
        // 20 % exactly: 5·n > own, without rounding.
        let off = self.missing + self.moved;
        off > 5 && off * 5 > self.own
    }
}

/// What a person answered to a freeze.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Approval {
    /// The same remote: what is missing or moved is put right.
    Same,
    /// Another remote: it is to be filled, and what is there already is somebody else's.
    New,
}

/// Reads an approve annotation (`<token>=same` or `<token>=new`) against the token of the freeze.
///
/// # Errors
/// One sentence that says what the annotation should look like, when it is for this or any freeze but malformed.
pub fn approval(annotation: &str, token: &str) -> Result<Option<Approval>, String> {
    let Some((named, answer)) = annotation.trim().split_once('=') else {
        return Err(format!("the approve annotation must read {token}=same or {token}=new"));
    };
    if named.trim() != token {
        return Ok(None);
    }
    match answer.trim() {
        "same" => Ok(Some(Approval::Same)),
        "new" => Ok(Some(Approval::New)),
        _ => Err(format!("the approve annotation must read {token}=same or {token}=new")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn tally(own: usize, missing: usize, moved: usize) -> bool {
        Tally { own, missing, moved }.diverged()
    }

    #[test]
    fn more_than_five_and_more_than_a_fifth_freezes() {
        assert!(!tally(5, 5, 0), "five are never a mass");
        assert!(tally(6, 6, 0));
        assert!(tally(6, 3, 3), "missing and moved count together");
        assert!(!tally(30, 6, 0), "exactly a fifth is tolerated");
        assert!(tally(29, 6, 0));
        assert!(!tally(1000, 200, 0));
        assert!(tally(1000, 0, 201));
        assert!(!tally(0, 0, 0));
    }

    #[test]
    fn an_approval_names_the_token() {
        assert_eq!(approval("ab12=same", "ab12"), Ok(Some(Approval::Same)));
        assert_eq!(approval(" ab12 = new ", "ab12"), Ok(Some(Approval::New)));
        assert_eq!(approval("old1=same", "ab12"), Ok(None), "an old approval releases no new freeze");
        assert!(approval("ab12", "ab12").is_err());
        assert!(approval("ab12=yes", "ab12").unwrap_err().contains("ab12=same or ab12=new"));
    }
}
