//! Which rows the list has: probes in an order, below their groups, those that pass the filter.
//!
//! Pure: a board and what a person arranged give rows. A group stands where its first member would stand, so
//! the worst comes first whatever the order is by. When there is no room for everything, members that are well
//! have no rows of their own, so that none of them stands before one that is not; what a person folds or opens
//! stays so.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::domain::alert::policy;
use crate::domain::alert::quiet::Matcher;
use crate::domain::board::Board;
use crate::domain::ids::ProbeId;
use crate::domain::probe::ProbeState;
use crate::domain::probe::health::Health;

/// What a person arranged.
#[derive(Debug, Clone, Default)]
pub struct Arrangement {
    /// The order.
    pub sort: Sort,
    /// What is shown.
    pub filter: Filter,
    /// One list, although there are groups.
    pub flat: bool,
    /// Groups that a person folded (`true`) or opened.
    pub folded: BTreeMap<String, bool>,
}

/// What the order is by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Sort {
    /// The worst first, among equals the one that began first.
    #[default]
    State,
    /// By name.
    Name,
    /// The slowest last run first.
    Latency,
    /// The latest change first.
    Since,
}

impl Sort {
    /// The one after this.
    pub fn next(self) -> Self {
        match self {
            Self::State => Self::Name,
            Self::Name => Self::Latency,
            Self::Latency => Self::Since,
            Self::Since => Self::State,
        }
    }

    /// In words, for the title.
    pub fn words(self) -> &'static str {
        match self {
            Self::State => "red first",
            Self::Name => "by name",
            Self::Latency => "slowest first",
            Self::Since => "latest change first",
        }
    }

    /// Sorts probes that come by their ids. What is compared is worked out once for each: with a thousand of them this
    /// is done at every fact.
    fn sort(self, board: &Board, probes: &mut [Entry<'_>]) {
        // Every order here leaves equals as they are, and the ids of one host are in the order of their names.
        if board.is_of_several() {
            probes.sort_by(|a, b| a.0.name().cmp(b.0.name()));
        }
        match self {
            Self::State => probes.sort_by_cached_key(|it| {
                // A list of green rows that moves whenever one recovers cannot be read: those go by name.
                let since = if it.1.health() == Health::Up { None } else { it.1.since() };
                // Of what is lost comes first what was red when it was seen last.
                (health(board, it).rank(), it.1.health().rank(), since)
            }),
            Self::Name => {}
            Self::Latency => probes.sort_by_cached_key(|it| Reverse(it.1.last().map(|it| it.total()))),
            Self::Since => probes.sort_by_cached_key(|it| Reverse(it.1.since())),
        }
    }
}

/// A probe and what is known of it.
pub type Entry<'a> = (&'a ProbeId, &'a ProbeState);

/// How a probe is now: of a lost host that is not known.
fn health(board: &Board, (id, state): &Entry<'_>) -> Health {
    if board.lost_since(id.host()).is_some() { Health::Unknown } else { state.health() }
}

/// True for a probe that somebody should look at now: what only is not known yet needs no room.
pub fn is_in_trouble(board: &Board, entry: &Entry<'_>) -> bool {
    matches!(health(board, entry), Health::Down | Health::Suspect | Health::Degraded)
}

/// One row.
#[derive(Debug, Clone)]
pub enum Row<'a> {
    /// The heading of a group.
    Group(Group<'a>),
    /// A probe.
    Probe {
        /// Which.
        id: &'a ProbeId,
        /// What is known of it.
        state: &'a ProbeState,
        /// It stands below the heading of its group.
        below_group: bool,
    },
}

/// A group with those of its members that pass the filter, in the order of the list.
#[derive(Debug, Clone)]
pub struct Group<'a> {
    /// Its name in the config; empty for probes that are in none.
    pub name: &'a str,
    /// In the order of the list.
    pub members: Vec<Entry<'a>>,
    /// Its members have no rows.
    pub folded: bool,
    /// Only those of its members have rows that are not well: there is no room for all.
    pub is_short: bool,
    board: &'a Board,
}

impl<'a> Group<'a> {
    /// How the worst of its members is.
    pub fn worst(&self) -> Health {
        let worst = self.members.iter().map(|it| health(self.board, it)).min_by_key(|it| it.rank());
        worst.unwrap_or_default()
    }

    /// How many of its members are so.
    pub fn count(&self, health: Health) -> usize {
        let is_live = |id: &ProbeId| self.board.lost_since(id.host()).is_none();
        self.members.iter().filter(|(id, it)| it.health() == health && is_live(id)).count()
    }

    /// How many of its members are of lost hosts.
    pub fn lost(&self) -> usize {
        self.members.iter().filter(|(id, _)| self.board.lost_since(id.host()).is_some()).count()
    }

    /// True for a member that has a row.
    fn shows(&self, entry: &Entry<'_>, selected: Option<&ProbeId>) -> bool {
        !self.folded && (!self.is_short || health(self.board, entry) != Health::Up || selected == Some(entry.0))
    }

    /// The first of its members that is down now.
    pub fn first_red(&self) -> Option<&Entry<'a>> {
        self.members.iter().find(|it| health(self.board, it) == Health::Down)
    }
}

/// What a row is about: what a selection holds, because rows move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Picked {
    /// A probe.
    Probe(ProbeId),
    /// A group, by its name.
    Group(String),
}

impl Row<'_> {
    /// What the row is about.
    pub fn picked(&self) -> Picked {
        match self {
            Self::Group(group) => Picked::Group(group.name.to_string()),
            Self::Probe { id, .. } => Picked::Probe((*id).clone()),
        }
    }

    /// How many probes it stands for, and how many of these are down now. The heading of an open group stands for none:
    /// its members have rows of their own.
    pub fn stands_for(&self, board: &Board) -> (usize, usize) {
        let is_red = |it: &Entry<'_>| health(board, it) == Health::Down;
        match self {
            Self::Probe { id, state, .. } => (1, usize::from(is_red(&(*id, *state)))),
            Self::Group(group) if group.folded => {
                (group.members.len(), group.members.iter().filter(|it| is_red(it)).count())
            }
            Self::Group(_) => (0, 0),
        }
    }
}

impl Arrangement {
    /// The probes that pass the filter, in the order of the list.
    pub fn probes<'a>(&self, board: &'a Board) -> Vec<Entry<'a>> {
        let mut probes: Vec<Entry<'a>> =
            board.probes.iter().filter(|(id, state)| self.filter.keeps(id, state)).collect();
        self.sort.sort(board, &mut probes);
        probes
    }

    /// The probes that pass the filter, as they stand below each other when all groups are open.
    pub fn in_rows<'a>(&self, board: &'a Board) -> Vec<Entry<'a>> {
        if !self.is_grouped(board) {
            return self.probes(board);
        }
        self.groups(board, usize::MAX).into_iter().flat_map(|it| it.members).collect()
    }

    /// True when probes stand below headings.
    pub fn is_grouped(&self, board: &Board) -> bool {
        !self.flat && board.probes.iter().any(|(_, it)| it.setup.rules.group.is_some())
    }

    /// All groups, in the order of the list, folded as they are with this many rows.
    pub fn groups<'a>(&self, board: &'a Board, height: usize) -> Vec<Group<'a>> {
        let probes = self.probes(board);
        let mut groups: Vec<Group<'a>> = Vec::new();
        let mut places: BTreeMap<&str, usize> = BTreeMap::new();
        let count = probes.len();
        for entry in probes {
            let name = entry.1.setup.rules.group.as_deref().unwrap_or_default();
            let at = *places.entry(name).or_insert(groups.len());
            if at == groups.len() {
                groups.push(Group { name, members: Vec::new(), folded: false, is_short: false, board });
            }
            groups[at].members.push(entry);
        }
        if self.sort == Sort::Name {
            groups.sort_by_key(|it| it.name);
        }
        let fits = count.saturating_add(groups.len()) <= height;
        for group in &mut groups {
            let well = group.members.iter().filter(|it| health(board, it) == Health::Up).count();
            // Somebody who filters or sorts wants to see what was found, where it belongs.
            let by_itself = !fits && self.filter.is_empty() && self.sort == Sort::State;
            let by_person = self.folded.get(group.name).copied();
            group.folded = by_person.unwrap_or(by_itself && well == group.members.len());
            group.is_short = by_person.is_none() && by_itself && !group.folded && well > 0;
        }
        groups
    }

    /// The rows, for a list of this height. The selected probe keeps its row when it becomes well.
    pub fn rows<'a>(&self, board: &'a Board, height: usize, selected: Option<&ProbeId>) -> Vec<Row<'a>> {
        if !self.is_grouped(board) {
            let row = |(id, state)| Row::Probe { id, state, below_group: false };
            return self.probes(board).into_iter().map(row).collect();
        }
        let mut rows = Vec::new();
        for group in self.groups(board, height) {
            let members: Vec<_> = group.members.iter().filter(|it| group.shows(it, selected)).copied().collect();
            rows.push(Row::Group(group));
            rows.extend(members.into_iter().map(|(id, state)| Row::Probe { id, state, below_group: true }));
        }
        rows
    }
}

/// How many of these rows there are down to the last one in trouble.
pub fn urgent_rows(board: &Board, rows: &[Row<'_>]) -> usize {
    let is_urgent = |row: &Row<'_>| match row {
        Row::Group(it) => it.folded && it.members.iter().any(|it| is_in_trouble(board, it)),
        Row::Probe { id, state, .. } => is_in_trouble(board, &(*id, *state)),
    };
    rows.iter().rposition(is_urgent).map_or(0, |at| at + 1)
}

/// What is shown: every word must fit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    text: String,
    terms: Vec<Term>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Term {
    /// A condition on a label.
    Label(Matcher),
    /// A part of the name, group, kind, target, state or of a label, in lower case; `false`: it must not be there.
    Part(String, bool),
}

/// Words for states that people use besides the ones shown.
const STATES: &[(&str, &[Health])] = &[
    ("red", &[Health::Down]),
    ("ok", &[Health::Up]),
    ("failing", &[Health::Suspect]),
    ("trouble", &[Health::Down, Health::Suspect, Health::Degraded, Health::Unknown]),
];

impl Filter {
    /// Reads words: `edge`, `-mail`, `red`, `group=edge`, `team=~core|edge`.
    ///
    /// # Errors
    /// What is wrong with a condition.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut terms = Vec::new();
        for word in text.split_whitespace() {
            let is_label = word.contains('=') || word.contains("!~");
            terms.push(match (is_label, word.strip_prefix('-')) {
                (true, _) => Term::Label(word.parse()?),
                (false, Some(rest)) if !rest.is_empty() => Term::Part(rest.to_lowercase(), false),
                (false, _) => Term::Part(word.to_lowercase(), true),
            });
        }
        Ok(Self { text: text.trim().to_string(), terms })
    }

    /// As it was typed.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// True when everything passes.
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// True when a probe passes.
    pub fn keeps(&self, id: &ProbeId, state: &ProbeState) -> bool {
        if self.terms.is_empty() {
            return true;
        }
        let labels = policy::labels(id, state);
        let health = state.health();
        self.terms.iter().all(|term| match term {
            Term::Label(matcher) => matcher.fits(&labels),
            Term::Part(part, wanted) => {
                let is_state = STATES.iter().find(|(word, _)| word == part).map(|(_, of)| of.contains(&health));
                let in_labels = || labels.values().any(|it| it.to_lowercase().contains(part));
                // A word for a state means the state, also when it is part of a name.
                let found = is_state.unwrap_or_else(|| health.word() == part || in_labels());
                found == *wanted
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::HostId;
    use crate::panes::services::tests::{World, probe};

    fn names(arrangement: &Arrangement, board: &Board, height: usize) -> Vec<String> {
        let name = |row: &Row<'_>| match row {
            Row::Group(it) if it.folded => format!("+{}", it.name),
            Row::Group(it) => format!("-{}", it.name),
            Row::Probe { id, .. } => id.name().to_string(),
        };
        arrangement.rows(board, height, None).iter().map(name).collect()
    }

    fn grouped() -> World {
        let mut world = World::new(80, 24);
        for (name, group, letters) in [
            ("api", Some("edge"), "oo"),
            ("cdn", Some("edge"), "ff"),
            ("db-1", Some("storage"), "oo"),
            ("db-2", Some("storage"), "oo"),
            ("mail", None, "dd"),
        ] {
            world.configured_in(name, group);
            world.outcomes(name, letters);
        }
        world
    }

    #[test]
    fn the_group_with_the_worst_probe_comes_first() {
        let world = grouped();
        let arrangement = Arrangement::default();
        assert_eq!(
            names(&arrangement, &world.board, 24),
            ["-edge", "cdn", "api", "-", "mail", "-storage", "db-1", "db-2"]
        );
    }

    #[test]
    fn of_a_lost_host_what_was_red_stands_before_what_was_well() {
        let mut world = World::new(80, 24);
        for (name, letters) in [("api", "oo"), ("cdn", "oo"), ("late", "oo"), ("storage", "oo"), ("edge", "oo")] {
            world.configured_in(name, None);
            world.outcomes(name, letters);
        }
        world.outcomes("storage", "ff");
        world.outcomes("edge", "ff");
        world.outcomes("late", "dd");
        world.board.hosts.insert(HostId::new(probe("api").host()), Some(world.now));
        let names = names(&Arrangement::default(), &world.board, 24);
        assert_eq!(names, ["storage", "edge", "late", "api", "cdn"]);
    }

    #[test]
    fn a_group_in_which_all_is_well_folds_when_room_is_short_and_opens_when_it_turns_red() {
        let mut world = grouped();
        let mut arrangement = Arrangement::default();
        assert_eq!(names(&arrangement, &world.board, 7), ["-edge", "cdn", "-", "mail", "+storage"]);
        world.outcomes("db-2", "ff");
        assert_eq!(names(&arrangement, &world.board, 7)[2..4], ["-storage", "db-2"]);
        arrangement.folded.insert("storage".into(), true);
        assert_eq!(names(&arrangement, &world.board, 7)[2..], ["+storage", "-", "mail"], "a person's word counts");
    }

    #[test]
    fn where_room_is_short_no_probe_that_is_well_stands_before_one_that_is_not() {
        let mut world = World::new(80, 24);
        for group in ["a", "b", "c"] {
            for member in 0..6 {
                let name = format!("{group}{member}");
                world.configured_in(&name, Some(group));
                world.outcomes(&name, if member == 3 { "ff" } else { "oo" });
            }
        }
        let mut arrangement = Arrangement::default();
        assert_eq!(names(&arrangement, &world.board, 7), ["-a", "a3", "-b", "b3", "-c", "c3"]);
        assert_eq!(urgent_rows(&world.board, &arrangement.rows(&world.board, 0, None)), 6);
        assert_eq!(names(&arrangement, &world.board, 21).len(), 21, "with room all are there");
        let selected = crate::panes::services::tests::probe("a1");
        let rows = arrangement.rows(&world.board, 7, Some(&selected));
        assert!(rows.iter().any(|it| it.picked() == Picked::Probe(selected.clone())), "the selected one stays");
        arrangement.folded.insert("a".into(), false);
        assert_eq!(names(&arrangement, &world.board, 7).len(), 11, "a person opened one");
    }

    #[test]
    fn the_order_is_by_what_was_asked_for() {
        let mut world = grouped();
        let mut arrangement = Arrangement { flat: true, ..Arrangement::default() };
        assert_eq!(names(&arrangement, &world.board, 24), ["cdn", "mail", "api", "db-1", "db-2"]);
        arrangement.sort = Sort::Name;
        assert_eq!(names(&arrangement, &world.board, 24), ["api", "cdn", "db-1", "db-2", "mail"]);
        arrangement.sort = Sort::Latency;
        assert_eq!(names(&arrangement, &world.board, 24), ["mail", "api", "db-1", "db-2", "cdn"]);
        arrangement.sort = Sort::Since;
        world.outcomes("api", "ff");
        assert_eq!(names(&arrangement, &world.board, 24)[..2], ["api", "mail"]);
    }

    #[test]
    fn a_filter_takes_parts_of_words_states_and_conditions() {
        let world = grouped();
        let found = |text: &str| {
            let filter = Filter::parse(text).expect(text);
            names(&Arrangement { filter, flat: true, ..Arrangement::default() }, &world.board, 24)
        };
        assert_eq!(found("db"), ["db-1", "db-2"]);
        assert_eq!(found("DB -2"), ["db-1"]);
        assert_eq!(found("red"), ["cdn"]);
        assert_eq!(found("trouble -red"), ["mail"]);
        assert_eq!(found("group=edge ok"), ["api"]);
        assert_eq!(found("probe=~db-."), ["db-1", "db-2"]);
        assert_eq!(found("example"), ["cdn", "mail", "api", "db-1", "db-2"], "in the target");
        assert!(Filter::parse("probe=~(").is_err());
    }
}
