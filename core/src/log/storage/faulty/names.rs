//! Names, live and durable: what was created, renamed or removed reaches the disk by a sync of its folder.

use std::io;

use super::super::path;
use super::super::tree::Tree;

/// The files' names; a file is a number.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    pub(super) live: Tree<u64>,
    /// May hold what lies in a folder that is not durable itself: see [`Names::reachable`].
    pub(super) durable: Tree<u64>,
    /// Changes that no sync has covered, in order.
    pub(super) pending: Vec<NameChange>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NameChange {
    removed: Option<String>,
    added: Option<(String, Node)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Node {
    Folder,
    File(u64),
}

impl NameChange {
    /// The file that gets a name.
    pub(super) fn file(&self) -> Option<u64> {
        match self.added {
            Some((_, Node::File(file))) => Some(file),
            _ => None,
        }
    }

    /// Whether a folder gets a name.
    pub(super) fn is_folder(&self) -> bool {
        matches!(self.added, Some((_, Node::Folder)))
    }
}

impl Names {
    pub(super) fn create_dir(&mut self, path: &str) -> io::Result<()> {
        let is_new = |folder: &&str| self.live.check_dir(folder).is_err();
        let new: Vec<_> = path::with_parents(path)
            .into_iter()
            .filter(is_new)
            .collect();
        self.live.create_dir(path)?;
        self.pending
            .extend(new.into_iter().map(|folder| NameChange {
                removed: None,
                added: Some((folder.to_owned(), Node::Folder)),
            }));
        Ok(())
    }

    pub(super) fn create(&mut self, path: &str, file: u64) -> io::Result<()> {
        self.live.create(path, || file)?;
        self.pending.push(NameChange {
            removed: None,
            added: Some((path.to_owned(), Node::File(file))),
        });
        Ok(())
    }

    pub(super) fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let file = *self.live.file(from)?;
        self.live.rename(from, to)?;
        self.pending.push(NameChange {
            removed: Some(from.to_owned()),
            added: Some((to.to_owned(), Node::File(file))),
        });
        Ok(())
    }

    pub(super) fn unlink(&mut self, path: &str) -> io::Result<()> {
        self.live.unlink(path)?;
        self.pending.push(NameChange {
            removed: Some(path.to_owned()),
            added: None,
        });
        Ok(())
    }

    pub(super) fn sync_dir(&mut self, folder: &str) -> io::Result<()> {
        self.live.check_dir(folder)?;
        let lies_here = |path: &str| path::name_in(path, folder).is_some();
        for change in &mut self.pending {
            // Of a rename between folders, only this folder's side.
            let part = NameChange {
                removed: change.removed.take_if(|path| lies_here(path)),
                added: change.added.take_if(|(path, _)| lies_here(path)),
            };
            apply(&mut self.durable, &part);
        }
        self.pending
            .retain(|change| change.removed.is_some() || change.added.is_some());
        Ok(())
    }

    /// The names a crash would leave: the durable ones, with those pending changes that `keeps` picks.
    pub(super) fn after_crash(&self, mut keeps: impl FnMut(&NameChange) -> bool) -> Tree<u64> {
        let mut tree = self.durable.clone();
        for change in &self.pending {
            if keeps(change) {
                apply(&mut tree, change);
            }
        }
        tree.reachable()
    }

    /// The file of this name, if a crash is sure to leave it.
    pub(super) fn durable_file(&self, path: &str) -> Option<u64> {
        self.durable.reachable().file(path).ok().copied()
    }
}

fn apply(tree: &mut Tree<u64>, change: &NameChange) {
    if let Some(path) = &change.removed {
        tree.remove(path);
    }
    match &change.added {
        Some((path, Node::Folder)) => tree.put_dir(path),
        Some((path, Node::File(file))) => tree.put(path, *file),
        None => {}
    }
}
