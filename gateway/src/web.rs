//! The web client as it is served: its files, each in the forms that it can be sent in. They are in
//! the binary, taken from `gateway/web/dist` when it was built. Which path gets which file is in
//! `http/web.rs`.

mod encoding;

use std::collections::HashMap;
use std::sync::Arc;

use aws_lc_rs::digest;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue};

use encoding::Encoding;

/// The page that every path of the client's own router answers with.
const PAGE: &str = "/index.html";
/// Names below it hold a hash of the content, so they never change.
const HASHED: &str = "/assets/";

/// A row of the table that the build script writes.
struct Embedded {
    path: &'static str,
    plain: &'static [u8],
    br: Option<&'static [u8]>,
    gzip: Option<&'static [u8]>,
}

static EMBEDDED: &[Embedded] = &include!(concat!(env!("OUT_DIR"), "/web.rs"));

/// One file of a client.
#[derive(Debug, Clone)]
pub struct WebFile {
    /// Where it is served, from the `/` on.
    pub path: String,
    /// As it is.
    pub plain: Bytes,
    /// Compressed by brotli, where that is smaller.
    pub br: Option<Bytes>,
    /// Compressed by gzip, where that is smaller.
    pub gzip: Option<Bytes>,
}

/// A web client, or none.
#[derive(Clone, Default)]
pub struct Web(Arc<HashMap<String, File>>);

impl std::fmt::Debug for Web {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Web({} files)", self.0.len())
    }
}

impl Web {
    /// The client that was there when this crate was built; none if there was none.
    #[must_use]
    pub fn embedded() -> Self {
        Self::of(EMBEDDED.iter().map(|file| WebFile {
            path: file.path.to_owned(),
            plain: Bytes::from_static(file.plain),
            br: file.br.map(Bytes::from_static),
            gzip: file.gzip.map(Bytes::from_static),
        }))
    }

    /// A client of these files. Without `/index.html` it is none.
    #[must_use]
    pub fn of(files: impl IntoIterator<Item = WebFile>) -> Self {
        let files: HashMap<_, _> =
            files.into_iter().map(|file| (file.path.clone(), File::new(file))).collect();
        if files.contains_key(PAGE) { Self(Arc::new(files)) } else { Self::default() }
    }

    /// There is a client.
    #[must_use]
    pub fn is_there(&self) -> bool {
        !self.0.is_empty()
    }

    pub(crate) fn file(&self, path: &str) -> Option<&File> {
        self.0.get(path)
    }

    pub(crate) fn page(&self) -> Option<&File> {
        self.file(PAGE)
    }
}

/// A file with all that its answers need.
pub(crate) struct File {
    pub(crate) content_type: HeaderValue,
    pub(crate) is_page: bool,
    /// Its content never changes under this path.
    pub(crate) is_hashed: bool,
    plain: Form,
    br: Option<Form>,
    gzip: Option<Form>,
}

/// One representation of a file.
pub(crate) struct Form {
    pub(crate) bytes: Bytes,
    /// Of these bytes, so that each encoding has a tag of its own.
    pub(crate) etag: HeaderValue,
}

impl File {
    fn new(file: WebFile) -> Self {
        let WebFile { path, plain, br, gzip } = file;
        let content_type = content_type(&path);
        Self {
            content_type: HeaderValue::from_static(content_type),
            is_page: content_type.starts_with("text/html"),
            is_hashed: path.starts_with(HASHED),
            plain: Form::new(plain),
            br: br.map(Form::new),
            gzip: gzip.map(Form::new),
        }
    }

    /// It can be sent in more than one form.
    pub(crate) const fn varies(&self) -> bool {
        self.br.is_some() || self.gzip.is_some()
    }

    /// The form that a request's `Accept-Encoding` likes best, and the name of its encoding.
    pub(crate) fn form(&self, headers: &HeaderMap) -> (&Form, Option<&'static str>) {
        let offered = [
            self.br.as_ref().map(|form| (Encoding::Br, form)),
            self.gzip.as_ref().map(|form| (Encoding::Gzip, form)),
            Some((Encoding::Identity, &self.plain)),
        ];
        let offered: Vec<_> = offered.into_iter().flatten().collect();
        let names: Vec<_> = offered.iter().map(|(encoding, _)| *encoding).collect();
        let best = encoding::best(headers, &names);
        let form = offered.iter().find(|(encoding, _)| Some(*encoding) == best);
        // Who accepts nothing at all gets it as it is (RFC 9110, section 12.5.3).
        form.map_or((&self.plain, None), |(encoding, form)| (*form, encoding.name()))
    }
}

impl Form {
    fn new(bytes: Bytes) -> Self {
        let hash = digest::digest(&digest::SHA256, &bytes);
        let hex: String = hash.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        let etag = HeaderValue::from_str(&format!("\"{hex}\"")).expect("hex is ASCII");
        Self { bytes, etag }
    }
}

/// By the ending of the name. With `nosniff` an unknown one is only ever downloaded.
fn content_type(path: &str) -> &'static str {
    let ending = path.rsplit_once('.').map_or("", |(_, ending)| ending);
    match ending {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "txt" => "text/plain; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "webp" => "image/webp",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "wasm" => "application/wasm",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn what_was_compressed_for_the_binary_is_what_it_was_made_of() {
        for file in EMBEDDED {
            if let Some(br) = file.br {
                let mut plain = Vec::new();
                brotli::Decompressor::new(br, 4_096).read_to_end(&mut plain).expect("brotli");
                assert_eq!(plain, file.plain, "{}", file.path);
            }
            if let Some(gzip) = file.gzip {
                let mut plain = Vec::new();
                flate2::read::GzDecoder::new(gzip).read_to_end(&mut plain).expect("gzip");
                assert_eq!(plain, file.plain, "{}", file.path);
            }
        }
        assert_eq!(Web::embedded().is_there(), !EMBEDDED.is_empty());
    }

    #[test]
    fn each_form_of_a_file_has_a_tag_of_its_own() {
        let file = File::new(WebFile {
            path: "/assets/app.js".into(),
            plain: "plain".into(),
            br: Some("br".into()),
            gzip: Some("gz".into()),
        });
        let tag = |accept: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("accept-encoding", HeaderValue::from_static(accept));
            let (form, name) = file.form(&headers);
            (form.etag.clone(), name)
        };
        let (br, gzip, plain) = (tag("br"), tag("gzip"), tag("identity"));
        assert_eq!((br.1, gzip.1, plain.1), (Some("br"), Some("gzip"), None));
        assert!(br.0 != gzip.0 && gzip.0 != plain.0 && br.0 != plain.0);
    }

    #[test]
    fn files_without_a_page_are_no_client() {
        let file = WebFile { path: "/a.js".into(), plain: Bytes::new(), br: None, gzip: None };
        assert!(!Web::of([file]).is_there());
    }
}
