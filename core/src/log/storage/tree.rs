//! Names in memory: which folders there are, and which file each path stands for.
//!
//! Answers like a file system: `NotFound` for a missing folder on the way, `AlreadyExists`, a folder is
//! no file. The files themselves are the caller's.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};

use super::path;

#[derive(Clone, Debug)]
pub(super) struct Tree<F> {
    // Never holds the root, which is always there.
    folders: BTreeSet<String>,
    files: BTreeMap<String, F>,
}

impl<F> Default for Tree<F> {
    fn default() -> Self {
        Self {
            folders: BTreeSet::new(),
            files: BTreeMap::new(),
        }
    }
}

impl<F> Tree<F> {
    pub(super) fn create_dir(&mut self, path: &str) -> io::Result<()> {
        let folders = path::with_parents(path);
        if let Some(file) = folders
            .iter()
            .find(|folder| self.files.contains_key(**folder))
        {
            let is_last = *file == path;
            return Err(if is_last {
                ErrorKind::AlreadyExists.into()
            } else {
                ErrorKind::NotADirectory.into()
            });
        }
        self.folders.extend(folders.into_iter().map(str::to_owned));
        Ok(())
    }

    pub(super) fn check_dir(&self, path: &str) -> io::Result<()> {
        if path.is_empty() || self.folders.contains(path) {
            Ok(())
        } else if self.files.contains_key(path) {
            Err(ErrorKind::NotADirectory.into())
        } else {
            Err(ErrorKind::NotFound.into())
        }
    }

    /// Puts a new file there and returns a copy of what stands for it.
    pub(super) fn create(&mut self, path: &str, new: impl FnOnce() -> F) -> io::Result<F>
    where
        F: Clone,
    {
        self.check_dir(path::parent(path))?;
        if self.is_dir(path) || self.files.contains_key(path) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let file = new();
        self.files.insert(path.to_owned(), file.clone());
        Ok(file)
    }

    pub(super) fn file(&self, path: &str) -> io::Result<&F> {
        if self.is_dir(path) {
            return Err(ErrorKind::IsADirectory.into());
        }
        self.files
            .get(path)
            .ok_or_else(|| ErrorKind::NotFound.into())
    }

    pub(super) fn list(&self, path: &str) -> io::Result<Vec<String>> {
        self.check_dir(path)?;
        let mut names: Vec<_> = self
            .folders
            .iter()
            .chain(self.files.keys())
            .filter_map(|candidate| path::name_in(candidate, path))
            .map(str::to_owned)
            .collect();
        names.sort_unstable();
        Ok(names)
    }

    pub(super) fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.file(from)?;
        self.check_dir(path::parent(to))?;
        if self.is_dir(to) {
            return Err(ErrorKind::IsADirectory.into());
        }
        if let Some(file) = self.files.remove(from) {
            self.files.insert(to.to_owned(), file);
        }
        Ok(())
    }

    pub(super) fn unlink(&mut self, path: &str) -> io::Result<()> {
        self.file(path)?;
        self.files.remove(path);
        Ok(())
    }

    /// Every file with its path.
    #[cfg(any(test, feature = "testing"))]
    pub(super) fn files(&self) -> impl Iterator<Item = (&str, &F)> {
        self.files.iter().map(|(path, file)| (path.as_str(), file))
    }

    /// Puts a file there, wherever that is.
    #[cfg(any(test, feature = "testing"))]
    pub(super) fn put(&mut self, path: &str, file: F) {
        self.files.insert(path.to_owned(), file);
    }

    /// Puts a folder there, wherever that is.
    #[cfg(any(test, feature = "testing"))]
    pub(super) fn put_dir(&mut self, path: &str) {
        self.folders.insert(path.to_owned());
    }

    /// Removes a file, if it is there.
    #[cfg(any(test, feature = "testing"))]
    pub(super) fn remove(&mut self, path: &str) {
        self.files.remove(path);
    }

    /// What lies in folders that are there, and their folders, up to the root.
    #[cfg(any(test, feature = "testing"))]
    pub(super) fn reachable(&self) -> Self
    where
        F: Clone,
    {
        let mut tree = Self::default();
        // Sorted, so a folder comes before what lies in it.
        for folder in &self.folders {
            if tree.is_dir(path::parent(folder)) {
                tree.folders.insert(folder.clone());
            }
        }
        for (path, file) in &self.files {
            if tree.is_dir(path::parent(path)) {
                tree.files.insert(path.clone(), file.clone());
            }
        }
        tree
    }

    fn is_dir(&self, path: &str) -> bool {
        path.is_empty() || self.folders.contains(path)
    }
}
