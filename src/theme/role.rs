//! The list of names a theme may style.

macro_rules! roles {
    ($($(#[$meta:meta])* $role:ident = $name:literal,)*) => {
        /// What a piece of the screen means.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Role {
            $($(#[$meta])* $role,)*
        }

        impl Role {
            /// All roles, in declaration order.
            pub const ALL: &'static [Role] = &[$(Role::$role,)*];

            /// The dotted name in theme files.
            pub fn name(self) -> &'static str {
                match self {
                    $(Role::$role => $name,)*
                }
            }
        }
    };
}

roles! {
    /// Ordinary text.
    Text = "text",
    /// Secondary text: times, units, hints.
    TextDim = "text.dim",
    /// Emphasised text.
    TextStrong = "text.strong",
    /// The header strip.
    Header = "header",
    /// A name or number to notice in the header.
    HeaderStrong = "header.strong",
    /// The header while an incident is open.
    HeaderIncident = "header.incident",
    /// The footer with its hints.
    Footer = "footer",
    /// A key in the footer, help and palette.
    Key = "key",
    /// A pane's title line.
    Title = "title",
    /// The title line of the focused pane.
    TitleFocused = "title.focused",
    /// The selected row of the focused pane.
    Selection = "selection",
    /// The selected row of another pane.
    SelectionDim = "selection.dim",
    /// The frame of an overlay.
    Border = "border",
    /// The body of an overlay.
    Popup = "popup",
    /// An input line.
    Input = "input",
    /// What completes an input line.
    InputHint = "input.hint",
    /// A notice that something was done.
    NoticeInfo = "notice.info",
    /// A warning notice, a config banner.
    NoticeWarn = "notice.warn",
    /// A failure notice.
    NoticeError = "notice.error",
    /// A probe that is up.
    ProbeUp = "probe.up",
    /// A probe that is degraded.
    ProbeDegraded = "probe.degraded",
    /// A probe that may be going down.
    ProbeSuspect = "probe.suspect",
    /// A probe that is down.
    ProbeDown = "probe.down",
    /// A probe of which nothing is known.
    ProbeUnknown = "probe.unknown",
    /// A sparkline.
    Spark = "spark",
    /// Failing samples of a sparkline.
    SparkFail = "spark.fail",
    /// A bar of the log's histogram.
    Histogram = "histogram",
    /// A bar or mark of the log's histogram where errors are above their usual share.
    HistogramError = "histogram.error",
    /// Level trace.
    LogTrace = "log.trace",
    /// Level debug.
    LogDebug = "log.debug",
    /// Level info.
    LogInfo = "log.info",
    /// Level warn.
    LogWarn = "log.warn",
    /// Level error.
    LogError = "log.error",
    /// Level fatal.
    LogFatal = "log.fatal",
    /// A record's time.
    LogTime = "log.time",
    /// A record's source.
    LogSource = "log.source",
    /// The name of a source, one colour in six.
    LogSource1 = "log.source.1",
    /// The second.
    LogSource2 = "log.source.2",
    /// The third.
    LogSource3 = "log.source.3",
    /// The fourth.
    LogSource4 = "log.source.4",
    /// The fifth.
    LogSource5 = "log.source.5",
    /// The sixth.
    LogSource6 = "log.source.6",
    /// Context lines around matches.
    LogContext = "log.context",
    /// A gap row.
    LogGap = "log.gap",
    /// A hit of the search.
    LogHit = "log.hit",
    /// A filter-in chip.
    Chip = "chip",
    /// A filter-out chip.
    ChipOut = "chip.out",
    /// A chip that is switched off.
    ChipOff = "chip.off",
    /// A verified backup.
    BackupVerified = "backup.verified",
    /// A finished backup that was not verified.
    BackupOk = "backup.ok",
    /// A failed backup.
    BackupFailed = "backup.failed",
    /// A missed backup.
    BackupMissed = "backup.missed",
    /// A progress bar.
    Progress = "progress",
    /// A person's note.
    NotePerson = "note.person",
    /// A machine's entry.
    NoteMachine = "note.machine",
    /// A pin.
    NotePin = "note.pin",
    /// Severity 1.
    Sev1 = "sev.1",
    /// Severity 2.
    Sev2 = "sev.2",
    /// Severity 3.
    Sev3 = "sev.3",
    /// Severity 4.
    Sev4 = "sev.4",
}
