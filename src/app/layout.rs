//! Size and model to areas. Pure, so `update` may ask it as well as `view`.
//!
//! Logs always get whole rows of the screen: the terminal can then scroll them as a region for a few hundred
//! bytes. Four shapes, by what the size can hold:
//!
//! | shape | when | what |
//! |---|---|---|
//! | zoomed | a pane is zoomed or shows something large | that pane |
//! | accordion | fewer than 16 rows for the panes | titles of all, body of the focused one |
//! | stacked | narrower than 100 columns or lower than 26 rows | services, logs, backups, incident |
//! | side by side | 100 columns | services and backups, logs, incident |
//! | three | 160 columns and 36 rows | services, backups and incident over the logs |

use ratatui::layout::{Position, Rect};

use crate::panes::PaneId;

/// What the layout has to know of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs {
    /// The pane that gets keys.
    pub focus: PaneId,
    /// It takes the whole room.
    pub zoomed: bool,
    /// Rows of the header: 1, and 1 more for an open incident, and 1 for a banner.
    pub header_rows: u16,
    /// Rows that each pane can fill, in screen order; 0 leaves its title, while it has not the focus.
    pub wanted: [u16; PaneId::ALL.len()],
    /// Rows of the services down to the last that is in trouble: the other panes give way for them.
    pub urgent: u16,
    /// Rows that their reasons take besides: the others give way for them as well, the logs less so.
    pub reasons: u16,
    /// Panes that have nothing to show but a hint, in screen order: their titles are enough where rows are needed.
    pub idle: [bool; PaneId::ALL.len()],
}

impl Needs {
    /// True for a pane of which the title is enough.
    fn is_closed(&self, pane: PaneId) -> bool {
        self.focus != pane && PaneId::ALL.iter().zip(self.wanted).any(|(it, rows)| *it == pane && rows == 0)
    }

    /// Rows that a pane keeps beside what is red.
    fn least(&self, pane: PaneId, least: u16) -> u16 {
        let is_idle = PaneId::ALL.iter().zip(self.idle).any(|(it, idle)| *it == pane && idle);
        if is_idle { 0 } else { least }
    }

    fn are_closed(&self, panes: &[PaneId]) -> bool {
        panes.iter().all(|it| self.is_closed(*it))
    }
}

/// Where a pane stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PaneArea {
    /// Which pane.
    pub pane: PaneId,
    /// Its title row.
    pub title: Rect,
    /// Everything below the title; may have no rows.
    pub body: Rect,
}

/// Where everything stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Areas {
    /// The header strip.
    pub header: Rect,
    /// The panes that are shown, in screen order.
    pub panes: Vec<PaneArea>,
    /// One row of key hints, or of what was just done.
    pub footer: Rect,
    /// Columns between panes that stand side by side.
    pub separators: Vec<Rect>,
}

/// Below this many rows for the panes, four bodies are too small to read.
const ACCORDION_ROWS: u16 = 16;
const SIDE_COLUMNS: u16 = 100;
const SIDE_ROWS: u16 = 26;
const THREE_COLUMNS: u16 = 160;
const THREE_ROWS: u16 = 36;
/// Rows that the logs keep whatever is red: fewer show no course of things.
const LOGS_LEAST: u16 = 4;
/// Share of the rows that the logs keep while only reasons want more, and not rows of what is red.
const LOGS_FAIR_PERCENT: u16 = 30;
/// Rows that the incident keeps beside what is red: the newest entry above the prompt.
const INCIDENT_LEAST: u16 = 3;

impl Areas {
    /// Divides a screen.
    pub fn divide(area: Rect, needs: &Needs) -> Self {
        // The smallest screens keep at least one row for a pane.
        let header_rows = needs.header_rows.min(area.height.saturating_sub(2)).max(area.height.min(1));
        let footer_rows = (area.height - header_rows).min(1);
        let header = Rect { height: header_rows, ..area };
        let footer = Rect { y: area.bottom() - footer_rows, height: footer_rows, ..area };
        let room = Rect { y: header.bottom(), height: area.height - header_rows - footer_rows, ..area };
        let mut areas = Areas { header, footer, ..Areas::default() };
        if needs.zoomed {
            areas.panes.push(pane(needs.focus, room));
        } else if room.height < ACCORDION_ROWS {
            areas.accordion(room, needs);
        } else if room.width >= THREE_COLUMNS && room.height >= THREE_ROWS {
            areas.three(room, needs);
        } else if room.width >= SIDE_COLUMNS && room.height >= SIDE_ROWS {
            areas.side_by_side(room, needs);
        } else {
            areas.stacked(room, needs);
        }
        areas
    }

    /// Where a pane stands, when it is shown.
    pub fn pane(&self, pane: PaneId) -> Option<&PaneArea> {
        self.panes.iter().find(|it| it.pane == pane)
    }

    /// The pane's body; empty when it is not shown.
    pub fn body(&self, pane: PaneId) -> Rect {
        self.pane(pane).map_or(Rect::default(), |it| it.body)
    }

    /// The pane at a cell of the screen.
    pub fn pane_at(&self, at: Position) -> Option<&PaneArea> {
        self.panes.iter().find(|it| it.title.contains(at) || it.body.contains(at))
    }

    fn accordion(&mut self, room: Rect, needs: &Needs) {
        // All titles when the focused body keeps at least two rows, else only its own.
        let others = PaneId::ALL.len() as u16 - 1;
        if room.height < others + 3 {
            self.panes.push(pane(needs.focus, room));
            return;
        }
        self.rows(room, |it| if it == needs.focus { room.height - others } else { 1 });
    }

    fn stacked(&mut self, room: Rect, needs: &Needs) {
        let [services, logs, backups, incident] = needs.wanted;
        let bodies = room.height - PaneId::ALL.len() as u16;
        let rows = |pane, wanted: u16, percent, least| match needs.is_closed(pane) {
            true => 0,
            false => wanted.min(share(bodies, percent)).max(least),
        };
        let mut backups = rows(PaneId::Backups, backups, 12, 1);
        let mut incident = rows(PaneId::Incident, incident, 30, incident.clamp(2, INCIDENT_LEAST));
        let spare = bodies.saturating_sub(backups + incident).saturating_sub(logs);
        let mut services = match needs.is_closed(PaneId::Services) {
            true => 0,
            false => services.min(share(bodies, 30).max(spare)).max(2),
        };
        // What is red must be in sight: backups give way first, then logs, then the incident. The pane that a person
        // works in keeps what it has.
        let mut logs = bodies.saturating_sub(services + backups + incident);
        let fair = share(bodies, LOGS_FAIR_PERCENT).max(LOGS_LEAST);
        for (logs_least, wanted) in [(LOGS_LEAST, needs.urgent), (fair, needs.urgent + needs.reasons)] {
            for (pane, rows, least) in [
                (PaneId::Backups, &mut backups, 1),
                (PaneId::Logs, &mut logs, logs_least),
                (PaneId::Incident, &mut incident, INCIDENT_LEAST),
            ] {
                if pane != needs.focus {
                    let least = needs.least(pane, least);
                    let given = rows.saturating_sub(least).min(wanted.saturating_sub(services));
                    *rows -= given;
                    services += given;
                }
            }
        }
        self.rows(room, |it| match it {
            PaneId::Services => services + 1,
            PaneId::Backups => backups + 1,
            PaneId::Incident => incident + 1,
            PaneId::Logs => room.height - services - backups - incident - 3,
        });
    }

    fn side_by_side(&mut self, room: Rect, needs: &Needs) {
        let [services, logs, backups, incident] = needs.wanted;
        let below = incident.min(share(room.height, 30)).max(4);
        // A hint that nothing is open gives way to what is red.
        let gives_way = needs.urgent > 0 && needs.focus != PaneId::Incident && needs.least(PaneId::Incident, 1) == 0;
        let bottom = if gives_way || needs.is_closed(PaneId::Incident) { 1 } else { below + 1 };
        let spare = room.height.saturating_sub(bottom + 2).saturating_sub(logs);
        let most = room.height.saturating_sub(bottom + 2 + LOGS_LEAST);
        let fair = room.height.saturating_sub(bottom + 2 + share(room.height, LOGS_FAIR_PERCENT).max(LOGS_LEAST));
        let above = services.max(backups).min(share(room.height, 32).max(spare));
        let above = above.max(needs.urgent.min(most)).max((needs.urgent + needs.reasons).min(fair)).max(4);
        let top = if needs.are_closed(&[PaneId::Services, PaneId::Backups]) { 1 } else { above + 1 };
        let (left, right) = self.columns(Rect { height: top, ..room }, 60);
        self.panes.push(pane(PaneId::Services, left));
        self.panes.push(pane(PaneId::Logs, Rect { y: room.y + top, height: room.height - top - bottom, ..room }));
        self.panes.push(pane(PaneId::Backups, right));
        self.panes.push(pane(PaneId::Incident, Rect { y: room.bottom() - bottom, height: bottom, ..room }));
    }

    fn three(&mut self, room: Rect, needs: &Needs) {
        let [services, logs, backups, incident] = needs.wanted;
        let spare = room.height.saturating_sub(2).saturating_sub(logs);
        let most = room.height.saturating_sub(2 + LOGS_LEAST);
        let rows = services.max(backups).max(incident).min(share(room.height, 42).max(spare));
        let fair = room.height.saturating_sub(2 + share(room.height, LOGS_FAIR_PERCENT).max(LOGS_LEAST));
        let rows = rows.max(needs.urgent.min(most)).max((needs.urgent + needs.reasons).min(fair)).max(6);
        let others = [PaneId::Services, PaneId::Backups, PaneId::Incident];
        let top = if needs.are_closed(&others) { 1 } else { rows + 1 };
        let above = Rect { height: top, ..room };
        let (left, rest) = self.columns(above, 42);
        let (middle, right) = self.columns(rest, 46);
        self.panes.push(pane(PaneId::Services, left));
        self.panes.push(pane(PaneId::Logs, Rect { y: room.y + top, height: room.height - top, ..room }));
        self.panes.push(pane(PaneId::Backups, middle));
        self.panes.push(pane(PaneId::Incident, right));
    }

    fn rows(&mut self, room: Rect, height: impl Fn(PaneId) -> u16) {
        let mut y = room.y;
        for id in PaneId::ALL {
            let height = height(*id);
            self.panes.push(pane(*id, Rect { y, height, ..room }));
            y += height;
        }
    }

    /// Splits into two with a separator column between.
    fn columns(&mut self, area: Rect, left_percent: u16) -> (Rect, Rect) {
        let left = share(area.width, left_percent);
        let separator = Rect { x: area.x + left, width: 1, ..area };
        self.separators.push(separator);
        let right = Rect { x: separator.right(), width: area.width - left - 1, ..area };
        (Rect { width: left, ..area }, right)
    }
}

fn pane(pane: PaneId, area: Rect) -> PaneArea {
    let title = Rect { height: area.height.min(1), ..area };
    let body = Rect { y: title.bottom(), height: area.height - title.height, ..area };
    PaneArea { pane, title, body }
}

fn share(whole: u16, percent: u16) -> u16 {
    (u32::from(whole) * u32::from(percent) / 100) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn divide(width: u16, height: u16, focus: PaneId, zoomed: bool) -> Areas {
        let needs =
            Needs { focus, zoomed, header_rows: 2, wanted: [u16::MAX; 4], urgent: 0, reasons: 0, idle: [false; 4] };
        Areas::divide(Rect::new(0, 0, width, height), &needs)
    }

    fn rows(areas: &Areas) -> Vec<u16> {
        PaneId::ALL.iter().map(|it| areas.body(*it).height).collect()
    }

    #[test]
    fn every_pane_has_sensible_rows_at_the_sizes_we_design_for() {
        assert_eq!(rows(&divide(80, 24, PaneId::Logs, false)), [5, 5, 2, 5]);
        assert_eq!(rows(&divide(120, 40, PaneId::Logs, false)), [11, 12, 11, 11]);
        assert_eq!(rows(&divide(200, 60, PaneId::Logs, false)), [23, 32, 23, 23]);
        assert_eq!(rows(&divide(40, 12, PaneId::Logs, false)), [0, 5, 0, 0]);
    }

    #[test]
    fn rows_that_a_pane_cannot_fill_go_to_the_logs() {
        let needs = Needs {
            focus: PaneId::Logs,
            zoomed: false,
            header_rows: 1,
            wanted: [3, u16::MAX, 1, 3],
            urgent: 0,
            reasons: 0,
            idle: [false; 4],
        };
        let areas = Areas::divide(Rect::new(0, 0, 80, 24), &needs);
        assert_eq!(rows(&areas), [3, 11, 1, 3]);
    }

    #[test]
    fn panes_with_nothing_in_them_keep_their_titles_and_open_with_the_focus() {
        let divide = |width, height, focus| {
            let needs = Needs {
                focus,
                zoomed: false,
                header_rows: 1,
                wanted: [0, u16::MAX, 0, 0],
                urgent: 0,
                reasons: 0,
                idle: [false; 4],
            };
            rows(&Areas::divide(Rect::new(0, 0, width, height), &needs))
        };
        for (width, height) in [(80, 24), (120, 40), (200, 60)] {
            let logs = divide(width, height, PaneId::Logs);
            assert_eq!((logs[0], logs[2], logs[3]), (0, 0, 0), "{width}x{height}");
            assert!(logs[1] + 6 >= height, "{width}x{height} {logs:?}");
            for focus in [PaneId::Services, PaneId::Backups, PaneId::Incident] {
                let at = PaneId::ALL.iter().position(|it| *it == focus).unwrap();
                assert!(divide(width, height, focus)[at] > 0, "{width}x{height} {focus:?}");
            }
        }
    }

    #[test]
    fn rows_that_the_logs_cannot_fill_go_to_the_services() {
        for (width, height, least) in [(80, 24, 8), (120, 40, 22), (200, 60, 22)] {
            let needs = Needs {
                focus: PaneId::Services,
                zoomed: false,
                header_rows: 1,
                wanted: [22, 5, 2, 3],
                urgent: 0,
                reasons: 0,
                idle: [false; 4],
            };
            let areas = rows(&Areas::divide(Rect::new(0, 0, width, height), &needs));
            assert!(areas[0] >= least && areas[1] >= 5, "{width}x{height} {areas:?}");
        }
    }

    #[test]
    fn the_others_give_way_for_what_is_red_and_keep_enough_to_be_read() {
        let divide = |width, height, urgent, focus| {
            let needs = Needs {
                focus,
                zoomed: false,
                header_rows: 2,
                wanted: [40, u16::MAX, 2, 9],
                urgent,
                reasons: 0,
                idle: [false; 4],
            };
            rows(&Areas::divide(Rect::new(0, 0, width, height), &needs))
        };
        assert_eq!(divide(80, 24, 0, PaneId::Services), [5, 5, 2, 5]);
        assert_eq!(divide(80, 24, 7, PaneId::Services), [7, 4, 1, 5]);
        assert_eq!(divide(80, 24, 40, PaneId::Services), [9, 4, 1, 3]);
        assert_eq!(divide(80, 24, 40, PaneId::Logs), [8, 5, 1, 3], "who reads the logs goes on reading");
        assert_eq!(divide(120, 40, 40, PaneId::Services)[..2], [21, 4]);
        assert_eq!(divide(200, 60, 40, PaneId::Services)[..2], [40, 15]);
    }

    #[test]
    fn reasons_take_what_hints_and_some_of_what_the_logs_have() {
        let divide = |width, height, (urgent, reasons), focus| {
            let (wanted, idle) = ([40, u16::MAX, 1, 2], [false, false, true, true]);
            let needs = Needs { focus, zoomed: false, header_rows: 1, wanted, urgent, reasons, idle };
            rows(&Areas::divide(Rect::new(0, 0, width, height), &needs))
        };
        assert_eq!(divide(80, 24, (0, 0), PaneId::Services), [5, 10, 1, 2]);
        assert_eq!(divide(80, 24, (6, 0), PaneId::Services), [6, 10, 0, 2]);
        assert_eq!(divide(80, 24, (6, 6), PaneId::Services), [12, 5, 0, 1]);
        assert_eq!(divide(80, 24, (11, 6), PaneId::Services), [13, 5, 0, 0], "rows before reasons");
        assert_eq!(divide(80, 24, (11, 6), PaneId::Incident), [11, 5, 0, 2], "who works there keeps it");
        assert_eq!(divide(100, 30, (11, 6), PaneId::Services)[..2], [17, 8]);
    }

    #[test]
    fn logs_always_have_whole_rows() {
        for (width, height) in [(80, 24), (120, 40), (200, 60), (40, 12), (300, 20), (60, 100)] {
            for focus in PaneId::ALL {
                let areas = divide(width, height, *focus, false);
                if let Some(logs) = areas.pane(PaneId::Logs) {
                    assert_eq!((logs.body.x, logs.body.width), (0, width), "{width}x{height}");
                }
            }
        }
    }

    #[test]
    fn areas_cover_the_screen_without_overlap_at_any_size() {
        for width in [1, 5, 40, 99, 100, 159, 160, 400] {
            for height in 0..80 {
                for zoomed in [false, true] {
                    let areas = divide(width, height, PaneId::Incident, zoomed);
                    let panes = areas.panes.iter().flat_map(|it| [it.title, it.body]);
                    let all = panes.chain(areas.separators.iter().copied()).chain([areas.header, areas.footer]);
                    let cells: u32 = all.map(Rect::area).sum();
                    assert_eq!(cells, u32::from(width) * u32::from(height), "{width}x{height} zoomed {zoomed}");
                }
            }
        }
    }

    #[test]
    fn the_focused_pane_is_shown_at_any_size() {
        for height in 3..60 {
            for focus in PaneId::ALL {
                assert!(divide(40, height, *focus, false).body(*focus).height > 0 || height < 5, "{height}");
            }
        }
    }
}
