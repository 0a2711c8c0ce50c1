//! `obol completions`, `obol man`: what shells and manuals know of the command line, from the same
//! source as `--help`.

use crate::{cli::Cli, exit::Failure, output};
use clap::{Args, CommandFactory};
use clap_complete::Shell;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Prints what completes obol's command line in a shell.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  obol completions bash > ~/.local/share/bash-completion/completions/obol
  obol completions zsh > ~/.zfunc/_obol
  obol completions fish > ~/.config/fish/completions/obol.fish")]
pub(crate) struct CompletionsArgs {
    /// The shell.
    shell: Shell,
}

/// Writes obol's manual pages, one for each command.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  obol man ~/.local/share/man/man1 && man obol-sell-http")]
pub(crate) struct ManArgs {
    /// Folder to write them into; it is made when it is not there.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

pub(crate) fn completions(args: &CompletionsArgs) {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "obol", &mut script);
    output::print_bytes(&script);
}

pub(crate) fn man(args: &ManArgs) -> Result<(), Failure> {
    let refused = |error| {
        Failure::config(format!("{}: manual pages cannot be written: {error}", args.folder.display()))
    };
    fs::create_dir_all(&args.folder).map_err(refused)?;
    let mut root = Cli::command();
    root.build();
    pages(&root, "obol", &args.folder).map_err(refused)
}

fn pages(command: &clap::Command, name: &str, folder: &Path) -> std::io::Result<()> {
    let mut page = Vec::new();
    // Leaked once for each command, in a process that ends right after.
    let titled = command.clone().name(&*name.to_owned().leak());
    clap_mangen::Man::new(titled).render(&mut page)?;
    fs::write(folder.join(format!("{name}.1")), page)?;
    command
        .get_subcommands()
        .filter(|sub| sub.get_name() != "help")
        .try_for_each(|sub| pages(sub, &format!("{name}-{}", sub.get_name()), folder))
}
