//! Every rule by hand, and any history against what is true of it.

use proptest::prelude::*;

use super::*;

/// Transactions 100 and 105 ran, 110 had not begun.
fn snapshot() -> Snapshot {
    Snapshot::parse("100:110:100,105").unwrap()
}

const LOCKED: u16 = XMAX_LOCK_ONLY | XMAX_EXCL_LOCK;
/// Nobody has deleted it.
const KEPT: u16 = XMAX_INVALID;

#[track_caller]
fn check(xmin: u32, xmax: u32, flags: u16, expected: Option<bool>) {
    assert_eq!(snapshot().has(xmin, xmax, flags).ok(), expected, "{xmin} {xmax} {flags:#06x}");
}

#[test]
fn insertions() {
    for (xmin, hint, expected) in [
        // Over, as the hint says.
        (99, XMIN_COMMITTED, Some(true)),
        (99, XMIN_INVALID, Some(false)),
        (99, 0, None),
        (3, XMIN_COMMITTED, Some(true)),
        // It ran. That it has committed since then is another matter.
        (100, XMIN_COMMITTED, Some(false)),
        (100, XMIN_INVALID, Some(false)),
        (105, XMIN_COMMITTED, Some(false)),
        (105, 0, Some(false)),
        // Maybe a subtransaction of 100.
        (101, XMIN_COMMITTED, None),
        (101, XMIN_INVALID, None),
        (109, 0, None),
        // It had not begun.
        (110, XMIN_COMMITTED, Some(false)),
        (110, 0, Some(false)),
        (1_000_000, XMIN_INVALID, Some(false)),
        // Frozen, whoever it was.
        (99, XMIN_FROZEN, Some(true)),
        (101, XMIN_FROZEN, Some(true)),
        (110, XMIN_FROZEN, Some(true)),
        (XID_FROZEN, 0, Some(true)),
        (XID_FROZEN, XMIN_COMMITTED, Some(true)),
        (XID_BOOTSTRAP, 0, Some(true)),
        (XID_FROZEN, XMIN_INVALID, None),
        // Taken back.
        (XID_INVALID, 0, None),
        (XID_INVALID, XMIN_FROZEN, None),
    ] {
        check(xmin, 0, hint | KEPT, expected);
    }
}

#[test]
fn deletions() {
    for (xmax, flags, expected) in [
        (99, XMAX_COMMITTED, Some(false)),
        (99, 0, None),
        (99, XMAX_INVALID, Some(true)),
        // It ran, or had not begun: the row is still there.
        (100, XMAX_COMMITTED, Some(true)),
        (105, 0, Some(true)),
        (110, XMAX_COMMITTED, Some(true)),
        (110, 0, Some(true)),
        (101, XMAX_COMMITTED, None),
        (101, 0, None),
        (101, XMAX_INVALID, Some(true)),
        // Locks delete nothing: today's, and those of servers before 9.3.
        (99, LOCKED, Some(true)),
        (101, LOCKED, Some(true)),
        (101, XMAX_LOCK_ONLY | XMAX_KEYSHR_LOCK, Some(true)),
        (101, XMAX_LOCK_ONLY | XMAX_IS_MULTI, Some(true)),
        (99, XMAX_EXCL_LOCK, Some(true)),
        // Not such a lock: a shared one of then has both bits.
        (99, XMAX_EXCL_LOCK | XMAX_KEYSHR_LOCK, None),
        // Who has changed it is kept elsewhere.
        (99, XMAX_IS_MULTI, None),
        (99, XMAX_IS_MULTI | XMAX_COMMITTED, None),
        (99, XMAX_IS_MULTI | XMAX_EXCL_LOCK, None),
        (99, XMAX_IS_MULTI | XMAX_INVALID, Some(true)),
        // Nobody.
        (XID_INVALID, 0, Some(true)),
        (XID_INVALID, XMAX_COMMITTED, None),
        (XID_INVALID, XMAX_IS_MULTI, None),
        (XID_BOOTSTRAP, XMAX_COMMITTED, None),
        (XID_FROZEN, 0, None),
    ] {
        check(50, xmax, XMIN_COMMITTED | flags, expected);
    }
}

#[test]
fn a_row_that_is_not_there_may_be_deleted_by_anybody() {
    check(110, 99, 0, Some(false));
    check(99, 101, XMIN_INVALID | XMAX_IS_MULTI, Some(false));
    // But who inserted it comes first.
    check(101, 99, XMAX_COMMITTED, None);
    for moved in [0x4000, 0x8000] {
        check(50, 0, XMIN_FROZEN | KEPT | moved, None);
        check(110, 0, moved, None);
    }
}

#[test]
fn transactions_are_before_each_other_around_the_end_of_their_numbers() {
    // The snapshot's xmax is behind the end of an epoch.
    let snapshot = Snapshot::parse("8589934582:8589934612:8589934590,8589934600").unwrap();
    let past = |xid: u32| snapshot.past(xid);
    assert_eq!(past(u32::MAX - 10), Past::Over);
    assert_eq!(past(u32::MAX - 9), Past::Unknown);
    assert_eq!(past(u32::MAX - 1), Past::NotYet, "listed");
    assert_eq!([past(3), past(8), past(19)], [Past::Unknown, Past::NotYet, Past::Unknown]);
    assert_eq!([past(20), past(1 << 30), past((1 << 31) - 11)], [Past::NotYet; 3]);
    assert_eq!([past((1 << 31) - 10), past(1 << 31), past(3 << 30)], [Past::Over; 3]);
}

#[test]
fn what_is_no_snapshot_judges_nothing() {
    for text in [
        "",
        "100",
        "100:110",
        "100:110:1:2",
        "110:100:",
        "100:110:99",
        "100:110:110",
        "100:110:100,",
        "100:110:,100",
        "100:110:x",
        "+100:110:",
        "100:110 :",
        "-1:110:",
        // Farther apart than two xids can be.
        "100:2147483748:",
        "100:4294967396:",
        // The lower halves are no transactions.
        "4294967296:4294967400:",
        "4294967290:4294967298:",
        "0:10:",
        "99999999999999999999:99999999999999999999:",
    ] {
        assert_eq!(Snapshot::parse(text), None, "{text}");
    }
    assert!(Snapshot::parse("100:2147483747:100").is_some());
    let nobody = Snapshot::parse("100:100:").unwrap();
    assert_eq!([nobody.past(99), nobody.past(100)], [Past::Over, Past::NotYet]);
    // The order of the list does not matter.
    assert_eq!(Snapshot::parse("100:110:105,100"), Some(snapshot()));
}

/// What has become of a transaction, or of a part of one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Fate {
    Committed,
    RolledBack,
    Runs,
}

/// A transaction, or a subtransaction of an earlier one.
#[derive(Clone, Copy, Debug)]
struct Transaction {
    /// Some transaction before it is its parent.
    parent: Option<usize>,
    at_snapshot: Fate,
    now: Fate,
}

/// Transactions in the order in which they began. Those behind the first `n_begun` began after the snapshot.
#[derive(Clone, Debug)]
struct World {
    first: u64,
    n_begun: usize,
    transactions: Vec<Transaction>,
}

impl World {
    fn xid(&self, index: usize) -> u64 {
        // Xids of 0 to 2 are left out in every epoch.
        let xid = self.first + index as u64;
        let low = u64::from(low_half(xid));
        let before = u64::from(low_half(self.first));
        if low < before || low < 3 { xid + 3 } else { xid }
    }

    fn fate(&self, index: usize, of: fn(&Transaction) -> Fate) -> Fate {
        let own = of(&self.transactions[index]);
        match self.transactions[index].parent {
            // A part that was rolled back stays so; otherwise it shares its parent's fate.
            Some(parent) if own != Fate::RolledBack => self.fate(parent, of),
            _ => own,
        }
    }

    /// Whether its changes had been committed when the snapshot was taken.
    fn is_seen(&self, index: usize) -> bool {
        index < self.n_begun && self.fate(index, |of| of.at_snapshot) == Fate::Committed
    }

    fn now(&self, index: usize) -> Fate {
        self.fate(index, |of| of.now)
    }

    /// As the server writes it: without subtransactions.
    fn snapshot(&self) -> String {
        let is_top = |index: &usize| self.transactions[*index].parent.is_none();
        let runs = |index: &usize| self.transactions[*index].at_snapshot == Fate::Runs;
        let running: Vec<u64> =
            (0..self.n_begun).filter(is_top).filter(runs).map(|index| self.xid(index)).collect();
        let xmax = self.xid(self.n_begun);
        let list = running.iter().map(u64::to_string).collect::<Vec<_>>().join(",");
        format!("{}:{xmax}:{list}", running.first().unwrap_or(&xmax))
    }
}

fn worlds() -> impl Strategy<Value = World> {
    let fate = prop_oneof![Just(Fate::Committed), Just(Fate::RolledBack), Just(Fate::Runs)];
    let transaction = (prop::option::weighted(0.4, 0..12_usize), fate.clone(), fate);
    let near = prop_oneof![Just(1000_u64), (1_u64 << 32) - 25..(1 << 32) - 3, Just((5 << 32) + 3)];
    (near, 0..12_usize, prop::collection::vec(transaction, 14..25)).prop_map(|(first, n_begun, parts)| {
        let mut transactions: Vec<Transaction> = Vec::new();
        for (index, (parent, at_snapshot, now)) in parts.into_iter().enumerate() {
            let begun = index < n_begun;
            // A parent is earlier, and of the same time: a transaction that was over has no new parts.
            let of_parent = |parent: usize| transactions.get(parent).map(|parent| parent.at_snapshot);
            let parent =
                parent.filter(|parent| of_parent(*parent).is_some_and(|fate| begun || fate == Fate::Runs));
            let at_snapshot = match parent.and_then(of_parent) {
                _ if !begun => Fate::Runs,
                // Nothing of a transaction that is over goes on.
                Some(fate) if at_snapshot == Fate::Runs => fate,
                _ => at_snapshot,
            };
            // What was over stays as it was.
            let now = if at_snapshot == Fate::Runs { now } else { at_snapshot };
            transactions.push(Transaction { parent, at_snapshot, now });
        }
        World { first, n_begun, transactions }
    })
}

/// The hints that a server may have left for a transaction: none, or what has become of it.
fn hint(is_set: bool, fate: Fate, committed: u16, rolled_back: u16) -> u16 {
    match (is_set, fate) {
        (true, Fate::Committed) => committed,
        (true, Fate::RolledBack) => rolled_back,
        _ => 0,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]
    /// Whatever is judged is true. How much is judged, the tables above say.
    #[test]
    fn what_is_judged_is_what_the_snapshot_sees(
        world in worlds(),
        inserter in 0..14_usize,
        deleter in prop::option::of(0..14_usize),
        (has_xmin_hint, has_xmax_hint, is_frozen) in any::<(bool, bool, bool)>(),
        lock in prop_oneof![
            6 => Just(0), 1 => Just(XMAX_LOCK_ONLY), 1 => Just(LOCKED), 1 => Just(XMAX_EXCL_LOCK)
        ],
        others in prop_oneof![9 => Just(0), 1 => Just(XMAX_IS_MULTI)],
    ) {
        let snapshot = Snapshot::parse(&world.snapshot()).expect("a snapshot");
        let xid = |index: usize| low_half(world.xid(index));
        let is_inserted = world.is_seen(inserter);
        // Rows are frozen when every snapshot sees them.
        let oldest = world.snapshot().split(':').next().unwrap().parse::<u64>().unwrap();
        let mut flags = match is_frozen && is_inserted && world.xid(inserter) < oldest {
            true => XMIN_FROZEN,
            false => hint(has_xmin_hint, world.now(inserter), XMIN_COMMITTED, XMIN_INVALID),
        };
        let mut is_deleted = false;
        match deleter {
            None => flags |= if has_xmax_hint { XMAX_INVALID } else { 0 },
            Some(deleter) => {
                flags |= lock | hint(has_xmax_hint, world.now(deleter), XMAX_COMMITTED, XMAX_INVALID);
                is_deleted = lock == 0 && world.is_seen(deleter);
            }
        }
        let xmax = deleter.map_or(0, xid);
        let expected = is_inserted && !is_deleted;
        if let Ok(found) = snapshot.has(xid(inserter), xmax, flags) {
            prop_assert_eq!(found, expected, "{:#06x} {:?}", flags, snapshot);
        }
        // Which of several transactions has changed a row is not known, unless none of it counts.
        let multi = snapshot.has(xid(inserter), xmax, flags | others);
        let is_change = others != 0 && flags & (XMAX_INVALID | XMAX_LOCK_ONLY) == 0;
        if is_change && deleter.is_some() {
            prop_assert!(multi != Ok(true), "{:#06x} {:?}", flags, snapshot);
        }
    }
}
