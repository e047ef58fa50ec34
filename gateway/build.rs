//! Takes the built web client, `web/dist`, into the crate: every file, and beside it what brotli and
//! gzip make of it where that is smaller. Without the folder the table is empty and everything builds.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::{env, fs};

/// Smaller ones are not worth a second copy: they fit into one packet either way.
const COMPRESSED_FROM_BYTES: usize = 512;
const BROTLI_WINDOW_BITS: u32 = 22;

fn main() -> io::Result<()> {
    let dist = variable("CARGO_MANIFEST_DIR").join("web/dist");
    // Cargo looks for changes in a folder only if it is there. Where it cannot be made, as in a
    // read-only tree, this script runs again at every build.
    let _ = fs::create_dir_all(&dist);
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={}", dist.display());

    let out = variable("OUT_DIR");
    let kept = out.join("web");
    if kept.exists() {
        fs::remove_dir_all(&kept)?;
    }
    fs::create_dir_all(&kept)?;
    let mut table = String::from("[\n");
    let mut files = Vec::new();
    if dist.is_dir() {
        walk(&dist, &mut files)?;
    }
    // A client without its page is one that is being built just now.
    if files.iter().any(|file| file.strip_prefix(&dist) == Ok(Path::new("index.html"))) {
        files.sort();
        for (number, file) in files.iter().enumerate() {
            let Some(path) = file.strip_prefix(&dist).ok().and_then(Path::to_str) else {
                println!("cargo::warning={} is left out: its name is no text", file.display());
                continue;
            };
            let row = row(&format!("/{path}"), &fs::read(file)?, &kept, number)?;
            table.push_str(&row);
        }
    }
    table.push(']');
    fs::write(out.join("web.rs"), table)
}

fn variable(name: &str) -> PathBuf {
    env::var_os(name).map(PathBuf::from).expect("cargo sets it for build scripts")
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        if entry.file_type()?.is_dir() {
            walk(&entry.path(), files)?;
        } else {
            files.push(entry.path());
        }
    }
    Ok(())
}

/// One row of the table. The bytes are copied, since the folder may change under the compiler.
fn row(path: &str, plain: &[u8], kept: &Path, number: usize) -> io::Result<String> {
    let mut row = format!("    Embedded {{ path: {path:?}");
    let mut field = |name: &str, bytes: Option<&[u8]>| -> io::Result<()> {
        let value = match bytes {
            None => "None".to_owned(),
            Some(bytes) => {
                let copy = kept.join(format!("{number}.{name}"));
                fs::write(&copy, bytes)?;
                let include = format!("include_bytes!({:?})", copy.display().to_string());
                if name == "plain" { include } else { format!("Some({include})") }
            }
        };
        write!(row, ", {name}: {value}").map_err(io::Error::other)
    };
    field("plain", Some(plain))?;
    let smaller = |bytes: Vec<u8>| (bytes.len() < plain.len()).then_some(bytes);
    let is_worth_it = plain.len() >= COMPRESSED_FROM_BYTES;
    let br = if is_worth_it { smaller(brotli(plain)?) } else { None };
    let gzip = if is_worth_it { smaller(gzip(plain)?) } else { None };
    field("br", br.as_deref())?;
    field("gzip", gzip.as_deref())?;
    row.push_str(" },\n");
    Ok(row)
}

fn brotli(plain: &[u8]) -> io::Result<Vec<u8>> {
    // The best takes seconds where the compressor itself is built without optimisation.
    let quality = if env::var("PROFILE").as_deref() == Ok("release") { 11 } else { 6 };
    let mut out = Vec::new();
    let mut writer = brotli::CompressorWriter::new(&mut out, 4_096, quality, BROTLI_WINDOW_BITS);
    writer.write_all(plain)?;
    drop(writer);
    Ok(out)
}

fn gzip(plain: &[u8]) -> io::Result<Vec<u8>> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    writer.write_all(plain)?;
    writer.finish()
}
