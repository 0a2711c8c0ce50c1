//! Changes to offers that are there.

use super::{
    args::FolderArgs,
    offers::{Offers, Write, write},
};
use crate::{exit::Failure, output};
use obol_api::{remove, set_paused};
use obol_core::OfferId;
use std::{
    fs,
    path::{Path, PathBuf},
};

pub(super) fn pause(folder: &FolderArgs, name: &str, paused: bool) -> Result<(), Failure> {
    let offers = Offers::read(folder)?;
    let found = offers.named(name)?;
    let (id, word) = (&found.offer.id, if paused { "paused" } else { "sold" });
    if found.offer.paused == paused {
        output::print(&format!("{id} is {word} already.\n"));
        return Ok(());
    }
    let text = read(&found.file)?;
    let changed = set_paused(&text, &found.file, (id, paused), (&offers.registry, &offers.limits)).map_err(
        |error| Failure::config(format!("{}: {error}; nothing was changed", found.file.display())),
    )?;
    write(&found.file, &changed, Write::Over)?;
    output::print(&format!("{id} is {word} from now on ({}).\n", found.file.display()));
    Ok(())
}

pub(super) fn delete(folder: &FolderArgs, name: &str) -> Result<(), Failure> {
    let offers = Offers::read(folder)?;
    let found = offers.named(name)?;
    let (id, file) = (&found.offer.id, &found.file);
    let text = read(file)?;
    let removed = remove(&text, file, id, (&offers.registry, &offers.limits))
        .map_err(|error| Failure::config(format!("{}: {error}; nothing was changed", file.display())))?;
    let kept = free_name(&offers.folder, id);
    write(&kept, &removed.document, Write::Beside(file))?;
    match removed.rest {
        Some(rest) => write(file, &rest, Write::Over)?,
        None => fs::remove_file(file)
            .map_err(|error| Failure::config(format!("{} cannot be removed: {error}", file.display())))?,
    }
    output::print(&format!("{id} is not sold any more; what was written is in {}.\n", kept.display()));
    Ok(())
}

/// Of a file that is not there, and is no manifest by its ending.
fn free_name(folder: &Path, id: &OfferId) -> PathBuf {
    let name = |number: u32| match number {
        1 => format!("{}.{}.deleted", id.namespace, id.name),
        number => format!("{}.{}.{number}.deleted", id.namespace, id.name),
    };
    let taken = |path: &PathBuf| path.symlink_metadata().is_ok();
    (1..)
        .map(|number| folder.join(name(number)))
        .find(|path| !taken(path))
        .unwrap_or_else(|| folder.join(name(1)))
}

fn read(file: &Path) -> Result<String, Failure> {
    fs::read_to_string(file).map_err(|error| Failure::config(format!("{}: {error}", file.display())))
}
