//! Changes to offers that are there.

use super::{
    args::FolderArgs,
    offers::{Offers, Write, write},
};
use crate::{exit::Failure, output};
use obol_api::{Drain, EditError, Found, parse_grace, remove, set_drain, set_paused};
use obol_core::OfferId;
use std::{
    fs,
    path::{Path, PathBuf},
    time::SystemTime,
};

pub(super) fn pause(folder: &FolderArgs, name: &str) -> Result<(), Failure> {
    let offers = Offers::read(folder)?;
    let found = offers.manifest(name)?;
    let id = &found.offer.id;
    if found.offer.paused {
        output::print(&format!("{id} is paused already.\n"));
        return Ok(());
    }
    change(found, |text| set_paused(text, &found.file, (id, true), offers.terms()))?;
    output::print(&format!("{id} is paused from now on ({}).\n", found.file.display()));
    Ok(())
}

/// Ends a pause and a drain.
pub(super) fn resume(folder: &FolderArgs, name: &str) -> Result<(), Failure> {
    let offers = Offers::read(folder)?;
    let found = offers.manifest(name)?;
    let id = &found.offer.id;
    if !found.offer.paused && found.offer.sunset.is_none() {
        output::print(&format!("{id} is sold already.\n"));
        return Ok(());
    }
    change(found, |text| {
        let text = set_paused(text, &found.file, (id, false), offers.terms())?;
        set_drain(&text, &found.file, (id, None), offers.terms())
    })?;
    output::print(&format!("{id} is sold from now on ({}).\n", found.file.display()));
    Ok(())
}

pub(super) fn drain(folder: &FolderArgs, name: &str, grace: &str) -> Result<(), Failure> {
    let period = parse_grace(grace)
        .map_err(|error| Failure::config(format!("--grace: {error}; nothing was changed")))?;
    let offers = Offers::read(folder)?;
    let found = offers.manifest(name)?;
    let id = &found.offer.id;
    let at = output::second(SystemTime::now());
    let sunset = at + period;
    let drain = Drain { at: &output::moment(at), grace, sunset };
    change(found, |text| set_drain(text, &found.file, (id, Some(drain)), offers.terms()))?;
    let file = found.file.display();
    output::print(&match period.is_zero() {
        true => format!("{id} is not sold any more ({file}).\n"),
        false if found.offer.paused => format!(
            "{id} is paused, so that nothing is sold already; it ends at {} ({file}).\n",
            output::moment(sunset)
        ),
        false => format!("{id} is sold until {}, and not after that ({file}).\n", output::moment(sunset)),
    });
    Ok(())
}

fn change(found: &Found, edit: impl FnOnce(&str) -> Result<String, EditError>) -> Result<(), Failure> {
    let changed = edit(&read(&found.file)?).map_err(|error| {
        Failure::config(format!("{}: {error}; nothing was changed", found.file.display()))
    })?;
    write(&found.file, &changed, Write::Over)
}

pub(super) fn delete(folder: &FolderArgs, name: &str) -> Result<(), Failure> {
    let offers = Offers::read(folder)?;
    let found = offers.manifest(name)?;
    let (id, file) = (&found.offer.id, &found.file);
    let text = read(file)?;
    let removed = remove(&text, file, id, offers.terms())
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
