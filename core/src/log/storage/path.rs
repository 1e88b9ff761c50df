//! Paths within a storage: relative, parts separated by `/`, nothing that leads out of it.

use std::io;

/// Checks a path of a file or folder; the empty path is the root.
pub(super) fn check(path: &str) -> io::Result<()> {
    let is_part = |part: &str| {
        !matches!(part, "" | "." | "..") && !part.contains(['\0', '\\', ':']) && part.is_ascii()
    };
    if path.is_empty() || path.split('/').all(is_part) {
        Ok(())
    } else {
        Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "a path within a storage is relative, with '/' between its parts, in ASCII and without '..'",
        ))
    }
}

/// The folder a path lies in; the root's is itself.
pub(super) fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

/// A folder and all those it lies in, outermost first, without the root.
pub(super) fn with_parents(path: &str) -> Vec<&str> {
    let ends = path.match_indices('/').map(|(end, _)| end);
    let mut folders: Vec<_> = ends.map(|end| &path[..end]).collect();
    if !path.is_empty() {
        folders.push(path);
    }
    folders
}

/// The name of a file or folder that lies directly in `folder`.
pub(super) fn name_in<'a>(path: &'a str, folder: &str) -> Option<&'a str> {
    let rest = if folder.is_empty() {
        path
    } else {
        path.strip_prefix(folder)?.strip_prefix('/')?
    };
    (!rest.is_empty() && !rest.contains('/')).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_lead_out_or_are_ambiguous_are_refused() {
        for bad in [
            "/", "/a", "a/", "a//b", "..", "a/../b", ".", "a\0b", "a\\b", "c:a",
        ] {
            let kind = check(bad).map_err(|e| e.kind());
            assert_eq!(kind, Err(io::ErrorKind::InvalidInput), "{bad:?}");
        }
        for good in ["", "a", "0000/0.log", "a.b/c-d"] {
            assert!(check(good).is_ok(), "{good:?}");
        }
    }

    #[test]
    fn names_are_those_directly_inside() {
        assert_eq!(name_in("a", ""), Some("a"));
        assert_eq!(name_in("a/b", ""), None);
        assert_eq!(name_in("a/b", "a"), Some("b"));
        assert_eq!(name_in("a/b/c", "a"), None);
        assert_eq!(name_in("ab/c", "a"), None);
        assert_eq!(name_in("", ""), None);
        assert_eq!(with_parents("a/b/c"), ["a", "a/b", "a/b/c"]);
        assert!(with_parents("").is_empty());
        assert_eq!((parent("a/b/c"), parent("a"), parent("")), ("a/b", "", ""));
    }
}
