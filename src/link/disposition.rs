//! What a browser is told of a download: whether to show it, and what it is called.

use crate::s3::encode_value;

/// The value of `response-content-disposition`, as it stands in a query, with as much of the name as
/// fits into so many bytes. It keeps the end, which has the extension.
pub(super) fn encoded(kind: &str, name: Option<&str>, room: usize) -> String {
    let name = name
        .map(cleaned)
        .filter(|name| !name.trim_matches('.').is_empty());
    let Some(name) = name else {
        return kind.to_owned();
    };
    let (stem, extension) = split(&name);
    let characters: Vec<char> = stem.chars().collect();
    let fits = |count: usize| {
        let cut: String = characters.iter().take(count).collect();
        let stem = if count < characters.len() {
            cut.trim_end()
        } else {
            stem
        };
        let value = with_name(kind, &format!("{stem}{extension}"));
        (value.len() <= room).then_some(value)
    };
    // Most names fit as they are; of the others, as much as does.
    if let Some(value) = fits(characters.len()) {
        return value;
    }
    let (mut least, mut most) = (0, characters.len());
    let mut best = None;
    while least < most {
        let middle = (least + most) / 2;
        match fits(middle) {
            Some(value) => (least, best) = (middle + 1, Some(value).filter(|_| middle > 0)),
            None => most = middle,
        }
    }
    best.unwrap_or_else(|| kind.to_owned())
}

/// RFC 6266: an ASCII form for whoever knows no better, and the name itself.
fn with_name(kind: &str, name: &str) -> String {
    let plain: String = name
        .chars()
        .map(|c| match c {
            '"' | '\\' | '%' => '_',
            ' '..='~' => c,
            _ => '_',
        })
        .collect();
    // RFC 5987: what encode_value leaves is allowed there.
    let exact = encode_value(name);
    encode_value(&format!("{kind}; filename=\"{plain}\"; filename*=UTF-8''{exact}"))
}

/// A name without what could deceive: control characters, and marks that turn the direction of
/// writing (`gpj.exe` shown as `exe.jpg`); slashes become `_`.
fn cleaned(name: &str) -> String {
    let kept = name.chars().filter(|c| !c.is_control() && !is_mark(*c));
    let cleaned: String = kept.map(|c| if "/\\".contains(c) { '_' } else { c }).collect();
    cleaned.trim().to_owned()
}

/// Marks of direction, of lines and of byte order.
fn is_mark(c: char) -> bool {
    matches!(
        c,
        '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}'
    )
}

/// Stem and extension, which keeps its dot.
fn split(name: &str) -> (&str, &str) {
    const LONGEST_EXTENSION: usize = 16;
    match name.rfind('.') {
        Some(dot) if dot > 0 && name.len() - dot <= LONGEST_EXTENSION => name.split_at(dot),
        _ => (name, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use percent_encoding::percent_decode_str;

    fn value(name: &str, room: usize) -> String {
        let encoded = encoded("inline", Some(name), room);
        assert!(encoded.len() <= room);
        percent_decode_str(&encoded).decode_utf8().unwrap().into_owned()
    }

    #[test]
    fn names_in_both_forms() {
        for (name, plain, exact) in [
            ("a.png", "a.png", "a.png"),
            ("Größe 1.pdf", "Gr__e 1.pdf", "Gr%C3%B6%C3%9Fe%201.pdf"),
            ("\"x\\y\".txt", "_x_y_.txt", "%22x_y%22.txt"),
            ("100%41.txt", "100_41.txt", "100%2541.txt"),
            (
                "a\r\nSet-Cookie: b\0.txt",
                "aSet-Cookie: b.txt",
                "aSet-Cookie%3A%20b.txt",
            ),
            ("../../etc/passwd", ".._.._etc_passwd", ".._.._etc_passwd"),
            ("a .png", "a .png", "a%20.png"),
            ("\u{202e}gpj.exe", "gpj.exe", "gpj.exe"),
            ("<b>'*", "<b>'*", "%3Cb%3E%27%2A"),
        ] {
            assert_eq!(
                value(name, 500),
                format!("inline; filename=\"{plain}\"; filename*=UTF-8''{exact}"),
                "{name:?}"
            );
        }
    }

    #[test]
    fn no_name() {
        for name in [None, Some(""), Some(" \n"), Some(".."), Some("\u{200e}")] {
            assert_eq!(encoded("attachment", name, 500), "attachment");
        }
    }

    #[test]
    fn a_long_name_keeps_its_extension() {
        let hebrew = format!("{}.docx", "ש".repeat(300));
        for room in [200, 500, 1000] {
            let value = value(&hebrew, room);
            assert!(value.ends_with(".docx"), "{value}");
            let longer = encoded("inline", Some(&hebrew), room + 40);
            assert!(
                encoded("inline", Some(&hebrew), room).len() > room - 20 || longer.len() > room,
                "as much of it as fits"
            );
        }
        assert_eq!(value(&hebrew, 50), "inline");
        assert_eq!(value(&"x".repeat(300), 2000).matches('x').count(), 600);
    }
}
