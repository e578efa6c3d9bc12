//! The hosts that a screen is opened on: their names on the command line, and the ways to them.

use crate::agent::hub::HOSTS_MAX;
use crate::cli::failure::Failure;
use crate::config::remotes::{LOCAL, Remote, mistake_of_host};
use crate::domain::sanitise;

/// Where a host is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The one that this process runs on.
    Here,
    /// Another one, by ssh.
    Far(Remote),
}

/// Finds what is named: a `[[remote]]` of the config, else what `ssh` knows by that name; `local` is this host, and
/// comes first.
///
/// # Errors
/// When a name is no host, is there twice, or there are too many.
pub fn of_names(names: &[String], remotes: &[Remote]) -> Result<Vec<Place>, Failure> {
    let mut places: Vec<Place> = Vec::new();
    for name in names.iter().map(|it| it.trim()) {
        let name = name.strip_prefix("ssh:").filter(|it| !it.starts_with("//")).unwrap_or(name);
        let place = match remotes.iter().find(|it| it.name == name) {
            _ if name == LOCAL => Place::Here,
            Some(remote) => Place::Far(remote.clone()),
            None => match mistake_of_host(name) {
                None => Place::Far(Remote::of(name)),
                Some(mistake) => {
                    return Err(Failure::usage("could not open the screen on these hosts")
                        .caused_by(mistake)
                        .hint("name them as for `ssh`, with commas between: `db1,ops@web1`; `local` is this host"));
                }
            },
        };
        if places.contains(&place) {
            return Err(Failure::usage("could not open the screen on these hosts")
                .caused_by(format!("`{}` is named twice", sanitise::text(name)))
                .hint("name each host once"));
        }
        match place {
            Place::Here => places.insert(0, place),
            Place::Far(_) => places.push(place),
        }
    }
    if places.is_empty() || places.len() > HOSTS_MAX {
        return Err(Failure::usage("could not open the screen on these hosts")
            .caused_by(format!("from 1 to {HOSTS_MAX} hosts can be named, not {}", places.len()))
            .hint("name them with commas between: `--host db1,web1`"));
    }
    Ok(places)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(it: &[&str]) -> Vec<String> {
        it.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_host_is_a_remote_of_the_config_or_what_ssh_knows_and_this_one_comes_first() {
        let web = Remote { ssh: "ops@web1".into(), ..Remote::of("web") };
        let found = of_names(&names(&["web", " db1", "local"]), std::slice::from_ref(&web)).ok();
        assert_eq!(found, Some(vec![Place::Here, Place::Far(web), Place::Far(Remote::of("db1"))]));
    }

    #[test]
    fn what_is_no_host_or_is_named_twice_is_refused() {
        for bad in [&["-oProxyCommand=id"][..], &["db1", "db1"], &["local", "local"], &["a b"], &[""]] {
            assert!(of_names(&names(bad), &[]).is_err(), "{bad:?}");
        }
    }
}
