//! QR codes as SVG. A code's dark modules are one path of squares, so that it is sharp at any size.

use std::fmt::Write as _;

use qrcode::{Color, EcLevel, QrCode};

use super::markup::escape;

/// The light border that a scanner needs around a code, in modules (ISO/IEC 18004).
const QUIET_MODULES: usize = 4;

/// A code for a text, with a title for those who cannot see it; `None` where the text is too long for any code.
///
/// Dark on light whatever is around it: many scanners do not read an inverted code.
pub(super) fn svg(text: &str, title: &str) -> Option<String> {
    let code = QrCode::with_error_correction_level(text, EcLevel::M).ok()?;
    let width = code.width();
    let side = width + 2 * QUIET_MODULES;
    let mut path = String::new();
    for (row, modules) in code.to_colors().chunks(width).enumerate() {
        for (from, length) in dark_runs(modules) {
            let (x, y) = (from + QUIET_MODULES, row + QUIET_MODULES);
            // Writing to a string does not fail.
            let _ = write!(path, "M{x} {y}h{length}v1h-{length}z");
        }
    }
    Some(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {side} {side}\" role=\"img\" \
         shape-rendering=\"crispEdges\"><title>{}</title><path fill=\"#fff\" d=\"M0 0h{side}v{side}H0z\"/>\
         <path d=\"{path}\"/></svg>",
        escape(title)
    ))
}

/// Where dark modules begin in a row, and how many follow each other.
fn dark_runs(modules: &[Color]) -> Vec<(usize, usize)> {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for (at, _) in modules
        .iter()
        .enumerate()
        .filter(|(_, color)| **color == Color::Dark)
    {
        match runs.last_mut() {
            Some((from, length)) if *from + *length == at => *length += 1,
            _ => runs.push((at, 1)),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Draws the path as a scanner would see it, and reads it.
    fn scan(svg: &str) -> String {
        const SCALE: usize = 4;
        let number = |text: &str| text.parse::<usize>().unwrap();
        let side = number(
            svg.split("viewBox=\"0 0 ")
                .nth(1)
                .unwrap()
                .split(' ')
                .next()
                .unwrap(),
        );
        let path = svg.rsplit("d=\"").next().unwrap().split('"').next().unwrap();
        let mut dark = vec![false; side * side];
        for run in path.split('M').skip(1) {
            let (place, rest) = run.split_once('h').unwrap();
            let (x, y) = place.split_once(' ').unwrap();
            let length = number(rest.split('v').next().unwrap());
            let from = number(y) * side + number(x);
            dark[from..from + length].fill(true);
        }
        let shade = |x: usize, y: usize| {
            if dark[y / SCALE * side + x / SCALE] {
                0
            } else {
                255
            }
        };
        let mut image = rqrr::PreparedImage::prepare_from_greyscale(side * SCALE, side * SCALE, shade);
        let codes = image.detect_grids();
        assert_eq!(codes.len(), 1);
        codes[0].decode().unwrap().1
    }

    #[test]
    fn a_code_is_read_back_as_the_text() {
        let uri = "ethereum:0x5FbDB2315678afecb367f032d93F642f64180aa3@31337/transfer?address=\
                   0x70997970C51812dc3A010C7d01b50e0d17dc79C8&uint256=15001234";
        for text in [uri, "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"] {
            assert_eq!(scan(&svg(text, "a title").unwrap()), text);
        }
    }

    #[test]
    fn a_title_cannot_break_out() {
        let svg = svg("x", "</title><script>'\"&").unwrap();
        assert!(
            svg.contains("<title>&lt;/title&gt;&lt;script&gt;&#39;&quot;&amp;</title>"),
            "{svg}"
        );
    }

    #[test]
    fn a_text_without_bound_has_no_code() {
        assert_eq!(svg(&"x".repeat(10_000), "too long"), None);
    }
}
