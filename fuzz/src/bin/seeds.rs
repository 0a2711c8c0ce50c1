//! Writes the inputs to begin with where cargo-fuzz looks for them: `corpus/<target>`.

use std::{fs, io, path::Path};

fn main() -> io::Result<()> {
    for target in obol_fuzz::TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name);
        fs::create_dir_all(&folder)?;
        for (number, seed) in (target.seeds)().into_iter().enumerate() {
            fs::write(folder.join(format!("seed-{number}")), seed)?;
        }
    }
    Ok(())
}
