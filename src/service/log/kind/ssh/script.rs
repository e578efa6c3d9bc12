//! What runs on the other host to follow a file: a script for any POSIX shell, and its safe quoting.
//!
//! The file is held open by the script (descriptor 3), so after a rotation the old one is read to its end.
//! `cat` reads from where the descriptor stands to the end of what is there, as often as the file has
//! grown; nothing is read twice and nothing is buffered. Words to us stand between the bytes of the log
//! and carry a nonce. A word at least every 15 seconds ends the script when nobody listens any more.

/// What is wanted of a remote file.
pub struct Wanted<'a> {
    /// Whole, or below `~/`.
    pub path: &'a str,
    /// Device and inode of the file that was read before; empty at first.
    pub id: &'a str,
    /// Bytes of it that were received.
    pub offset: u64,
    /// Checksum and length of its beginning, as the script told it; empty at first.
    pub mark: &'a str,
    /// At first: so many bytes from the end.
    pub tail_bytes: u64,
    /// Stands in front of the script's words.
    pub nonce: &'a str,
    /// False when what is there now is wanted and then the end.
    pub follow: bool,
}

/// The steps of the script. They are joined by blanks: shells of other families, which only have to hand the
/// script on, take no line break inside quotes. For the same reason there is no `!` and no single quote in it.
const SCRIPT: &[&str] = &[
    "f=$1; id=$2; at=$3; want=$4; k=$5; follow=$6; m=$7;",
    "case $f in \"~/\"*) f=$HOME/${f#\"~/\"};; esac;",
    "LC_ALL=C; export LC_ALL;",
    "say() { printf \"\\036%s %s\\n\" \"$k\" \"$*\"; };",
    // `identity size` of each file: GNU and busybox, else BSD. With the time of its birth, because a number
    // of a file is given to the next one.
    "if stat -Lc %i / >/dev/null 2>&1;",
    "then look() { stat -Lc \"%d:%i:%W %s\" \"$@\" 2>/dev/null; };",
    "else look() { stat -Lf \"%d:%i:%B %z\" \"$@\" 2>/dev/null; };",
    "fi;",
    // What the file begins with: a file that was emptied and has grown past where we were is told by it.
    "mark() { set -- $(head -c 256 \"$f\" 2>/dev/null | cksum 2>/dev/null); m=$1:$2; };",
    // A writer that does not append leaves a hole where it was emptied: that is not read again.
    "emptied() {",
    "set -- $(head -c \"${m#*:}\" \"$f\" 2>/dev/null | cksum 2>/dev/null); s=$1:$2;",
    "if [ \"$s\" = \"$m\" ]; then return 1; fi;",
    "set -- $(head -c \"${m#*:}\" /dev/zero 2>/dev/null | cksum 2>/dev/null);",
    "if [ \"$s\" = \"$1:$2\" ]; then m=$s; say mark $m; return 1; fi;",
    "};",
    "short=0.2; sleep 0.01 2>/dev/null || short=1;",
    // Waits for the file.
    "n=0;",
    "until [ -r \"$f\" ]; do",
    "if [ -e \"$f\" ]; then say denied; exit 3; fi;",
    "if [ $((n % 15)) = 0 ]; then say missing; fi; n=$((n + 1));",
    "if [ $follow = 0 ]; then exit 0; fi;",
    "sleep 1;",
    "done;",
    "if [ -d \"$f\" ]; then say folder; exit 3; fi;",
    "exec 3<\"$f\" || exit 3;",
    "set -- $(look /dev/fd/3); now=$1; size=$2;",
    // Goes on where the last connection stopped.
    "if [ -z \"$id\" ]; then at=$((size > want ? size - want : 0));",
    "elif [ \"$id\" = \"$now\" ]; then",
    "if [ \"$size\" -lt \"$at\" ]; then say lost; at=0;",
    "elif [ \"$m\" ] && emptied; then say truncated $at $at; at=0; fi;",
    "else old=;",
    "for s in \"$f\".* \"$f\"-*; do",
    "set -- $(look \"$s\");",
    "if [ \"$1\" = \"$id\" ] && [ \"$2\" -ge \"$at\" ]; then old=$s; fi;",
    "done;",
    "if [ -n \"$old\" ]; then say rest; tail -c +$((at + 1)) \"$old\";",
    // A file between the two was never seen.
    "more=; for s in \"$f\".* \"$f\"-*; do if [ \"$s\" -nt \"$old\" ]; then more=1; fi; done;",
    "if [ -n \"$more\" ]; then say lost; else say rotated; fi;",
    "else say lost; fi;",
    "at=0;",
    "fi;",
    "mark; say open $now $at $m;",
    "if [ $((size - at)) -gt 1048576 ]; then say size $size; fi;",
    // Bytes behind `q` were sent since the file was last seen to be the same: `c` is 0 until it was looked at again.
    "q=$at; c=0; tail -c +$((at + 1)) <&3; p=$size;",
    "if [ $follow = 0 ]; then exit 0; fi;",
    // Follows.
    "busy=25; n=0; gone=0;",
    "while :; do",
    "if [ $busy -gt 0 ]; then sleep $short; busy=$((busy - 1)); else sleep 1; fi;",
    "n=$((n + 1)); if [ $((n % 15)) = 0 ]; then say tick; fi;",
    "set -- $(look /dev/fd/3 \"$f\"); now=$1; size=$2; other=$3;",
    "if [ \"$size\" -lt \"$p\" ] ||",
    "{ { [ \"$size\" -gt \"$p\" ] || [ $c = 0 ]; } && [ \"$other\" = \"$now\" ] && emptied; }; then",
    "exec 3<\"$f\"; set -- $(look /dev/fd/3); mark; say truncated $p $q; say open $1 0 $m; p=0; q=0; gone=0; busy=25;",
    "elif [ \"$size\" -gt \"$p\" ]; then",
    "if [ $((size - p)) -gt 1048576 ]; then say size $size; fi;",
    // Before the bytes are sent: whoever has seen them may empty the file.
    "case ${m#*:} in 256|\"\") ;; *) if [ \"$other\" = \"$now\" ]; then mark; say mark $m; fi;; esac;",
    "q=$p; c=0; p=$size; busy=25; cat <&3;",
    "elif [ -z \"$other\" ]; then",
    "if [ $gone = 0 ]; then say missing; gone=1; fi;",
    "elif [ \"$other\" = \"$now\" ]; then",
    "q=$p; c=1; if [ $gone = 1 ]; then gone=0; say tick; fi;",
    "elif [ -r \"$f\" ]; then",
    // Its writer may still have the old one open for a moment.
    "sleep $short; cat <&3;",
    "exec 3<\"$f\"; set -- $(look /dev/fd/3); mark; say rotated; say open $1 0 $m; p=0; q=0; gone=0; busy=25;",
    "fi;",
    "done",
];

/// The command line for the shell of the other host, whichever it is.
pub fn remote(wanted: &Wanted<'_>) -> String {
    let offset = wanted.offset.to_string();
    let tail = wanted.tail_bytes.to_string();
    let script = SCRIPT.join(" ");
    let follow = if wanted.follow { "1" } else { "0" };
    let words =
        ["sh", "-c", &script, "hotseat", wanted.path, wanted.id, &offset, &tail, wanted.nonce, follow, wanted.mark];
    words.iter().map(|it| quote(it)).collect::<Vec<_>>().join(" ")
}

/// Quotes a word so that a shell hands it on as it is: `sh`, `bash`, `zsh`, `ksh`, and also `fish`.
///
/// Inside single quotes nothing has a meaning but the quote itself; `fish` alone takes two backslashes for one.
pub fn quote(word: &str) -> String {
    let is_plain = |it: char| it.is_ascii_alphanumeric() || "-_./=:,@%+".contains(it);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_string();
    }
    let mut quoted = String::from("'");
    for it in word.chars() {
        match it {
            '\'' => quoted.push_str("'\\''"),
            it => quoted.push(it),
        }
    }
    quoted.push('\'');
    quoted
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    fn echoed(shell: &str, word: &str) -> String {
        let line = format!("printf %s {}", quote(word));
        let output = Command::new(shell).args(["-c", &line]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    fn a_shell_hands_on_what_was_quoted() {
        for word in
            ["", "a b", "it's", "$(touch /tmp/x)", "`id`", "a\\'b", "\\", "*", "~/x", "-n", "a\nb", "!x", "日本"]
        {
            for shell in ["sh", "bash"] {
                assert_eq!(echoed(shell, word), word, "{shell}");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_word_survives_quoting(word in "[^\\x00]{0,30}") {
            prop_assert_eq!(echoed("sh", &word), word);
        }
    }

    #[test]
    fn the_script_can_be_handed_on_by_shells_of_other_families() {
        for step in SCRIPT {
            assert!(!step.contains(['\n', '!', '\'']), "{step}");
        }
    }
}
