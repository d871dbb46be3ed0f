//! Who has an entry that several VaultSecrets name.

use std::cmp::Reverse;

use jiff::Timestamp;

/// How firmly a ledger holds an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hold {
    /// The spec names it; the ledger has nothing.
    Named,
    /// A create was intended and not acknowledged.
    Claimed,
    /// It is ours.
    Ours,
}

/// One VaultSecret's interest in an entry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Claimant {
    /// When the object was made.
    pub created: Option<Timestamp>,
    /// Its uid.
    pub uid: String,
    /// `<namespace>/<name>`, for messages.
    pub name: String,
    /// What its ledger says.
    pub hold: Hold,
    /// Length of the namespace prefix that made the name (0: none): the longest matching prefix owns a name.
    pub prefix: usize,
}

/// Who has the entry: whose ledger holds it (ours before claimed); else the one with the longest prefix, then the oldest.
#[must_use]
pub fn owner(claimants: &[Claimant]) -> Option<&Claimant> {
    claimants.iter().min_by_key(|c| {
        let hold = Reverse(c.hold);
        let named = if c.hold == Hold::Named { Reverse(c.prefix) } else { Reverse(0) };
        (hold, named, c.created.unwrap_or(Timestamp::MAX), c.uid.clone())
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn claimant(uid: &str, created: i64, hold: Hold, prefix: usize) -> Claimant {
        Claimant {
            created: Some(Timestamp::from_second(created).expect("time")),
            uid: uid.to_owned(),
            name: uid.to_owned(),
            hold,
            prefix,
        }
    }

    fn who(list: &[Claimant]) -> &str {
        &owner(list).expect("one").uid
    }

    #[test]
    fn the_oldest_has_what_no_ledger_holds() {
        assert_eq!(who(&[claimant("b", 2, Hold::Named, 0), claimant("a", 1, Hold::Named, 0)]), "a");
        assert_eq!(who(&[claimant("b", 1, Hold::Named, 0), claimant("a", 1, Hold::Named, 0)]), "a", "uid breaks ties");
        assert!(owner(&[]).is_none());
    }

    #[test]
    fn c9_the_ledgers_holder_keeps_it() {
        let older = claimant("old", 1, Hold::Named, 0);
        assert_eq!(who(&[older.clone(), claimant("new", 9, Hold::Claimed, 0)]), "new");
        assert_eq!(who(&[claimant("c", 1, Hold::Claimed, 0), claimant("o", 9, Hold::Ours, 0)]), "o");
        assert_eq!(who(&[older, claimant("leaving", 9, Hold::Ours, 0)]), "leaving");
    }

    #[test]
    fn r4_the_longest_prefix_owns_a_name() {
        // team + a-x and team-a + x are both team-a-x.
        let team = claimant("team", 1, Hold::Named, "team-".len());
        let team_a = claimant("team-a", 9, Hold::Named, "team-a-".len());
        assert_eq!(who(&[team, team_a]), "team-a");
    }
}
