//! Zeros ahead of the writer, while it writes.

use super::*;

/// Zeros written ahead of small syncs, while others append; over rolls, kills, closes and cuts.
pub(super) fn zeroes(stage: &mut Stage) -> Option<()> {
    stage.open()?;
    stage.append(open_of(1, 0).disk())?;
    for round in 0..8_usize {
        for len in [40, 900, 200] {
            let request = stage.batch(0, len);
            stage.append(request.disk())?;
        }
        let first = stage.next_of(0, 7, 300);
        let others = vec![stage.batch(0, 1_300), stage.batch(0, 50 + 400 * round)];
        stage.append_while_syncing(first, others)?;
        stage.sync()?;
        match round {
            2 => stage.kill()?,
            4 => {
                stage.close()?;
                stage.open()?;
            }
            6 => stage.cut(CrashMode::OnlySynced)?,
            _ => {}
        }
    }
    stage.close()
}
