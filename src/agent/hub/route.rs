//! Which host a request is for.

use crate::domain::export::ExportRequest;
use crate::domain::ids::IncidentId;
use crate::domain::log::WindowRequest;
use crate::domain::past::PastRequest;
use crate::domain::request::Request;

/// Whom a request is for.
#[derive(Debug, Clone, PartialEq)]
pub enum Route {
    /// The host of this name.
    Host(String),
    /// The host that keeps it: it may have been declared under another name of that host, or elsewhere.
    Incident(IncidentId),
    /// The first one: the local one where it is among them.
    First,
    /// Every one.
    All,
    /// The host that a notifier's name begins with.
    Notifier(String),
    /// Every one that has a source of it, each its part.
    Window(Box<WindowRequest>),
    /// Every one, or the one it names; the nearest event of all is shown.
    Past(PastRequest),
    /// Every one that has a source of it, into one file here.
    Export(Box<ExportRequest>),
    /// Whoever writes one.
    StopExport,
    /// The one that can be taken over.
    TakeOver,
    /// Those that are not reached.
    Away,
}

/// Decides whom a request is for.
pub fn of(request: &Request) -> Route {
    let of_incident = |it: &Option<IncidentId>| it.as_ref().map_or(Route::First, |it| Route::Incident(it.clone()));
    match request {
        Request::RunProbe(probe)
        | Request::BurstProbe(probe)
        | Request::AcknowledgeProbe(probe)
        | Request::Unacknowledge(probe)
        | Request::Acknowledge { probe, .. } => Route::Host(probe.host().into()),
        Request::History(request) => Route::Host(request.probe.host().into()),
        Request::Explain(request) => Route::Host(request.probe.host().into()),
        Request::Past(past) => Route::Past(past.clone()),
        Request::RunBackup(job) => Route::Host(job.host().into()),
        Request::VerifyBackup(run) => Route::Host(run.host().into()),
        Request::ChangeIncident(incident, _) => Route::Incident(incident.clone()),
        Request::Note(note) => of_incident(&note.incident),
        // Evidence without an incident is kept where it was found.
        Request::Pin(pin) => match (&pin.incident, &pin.host) {
            (None, Some(host)) => Route::Host(host.as_str().into()),
            (incident, _) => of_incident(incident),
        },
        Request::SaveDocument { incident, .. }
        | Request::LoadDocument(incident)
        | Request::SaveDraft { incident, .. } => of_incident(incident),
        // An incident is one, wherever it shows: it is kept by the first host.
        Request::Declare(_) | Request::SaveNoteDraft(_) | Request::LoadNoteDraft => Route::First,
        // What they fit is a matter of each host.
        Request::Silence(_) | Request::Unsilence(_) | Request::Maintain(_) | Request::EndMaintenance(_) => Route::All,
        Request::ReloadConfig | Request::Attend(_) | Request::LetGo => Route::All,
        Request::TestNotifier(name) => Route::Notifier(name.clone()),
        Request::Window(window) => Route::Window(window.clone()),
        Request::Export(export) => Route::Export(export.clone()),
        Request::StopExport => Route::StopExport,
        Request::TakeOver => Route::TakeOver,
        Request::Reattach => Route::Away,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::HostId;
    use crate::domain::incident::PinRequest;

    #[test]
    fn a_pin_goes_to_its_incident_else_to_the_host_of_its_line() {
        let edge = IncidentId::new(&HostId::new("web1"), "2024-08-19-edge");
        let incident = || Some(edge.clone());
        for (incident, host, expected) in [
            (incident(), None, Route::Incident(edge.clone())),
            (incident(), Some("db1"), Route::Incident(edge.clone())),
            (None, Some("db1"), Route::Host("db1".into())),
            (None, None, Route::First),
        ] {
            let host = host.map(HostId::new);
            let pin = PinRequest { incident, host, comment: String::new(), records: Vec::new() };
            assert_eq!(of(&Request::Pin(pin)), expected);
        }
    }
}
