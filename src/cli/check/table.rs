//! Columns that line up, for people.

/// Prints rows as columns, each as wide as its widest cell, two spaces in from the margin.
pub(super) fn print(rows: &[Vec<String>]) {
    for line in aligned(rows) {
        println!("  {line}");
    }
}

fn aligned(rows: &[Vec<String>]) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths);
        let cells: Vec<String> = cells.map(|(cell, width)| format!("{cell:<width$}")).collect();
        cells.join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

/// What somebody else's program says, fit for a cell: one line, no control characters, not too long.
pub(super) fn cell(text: &str) -> String {
    const MAX_CHARS: usize = 32;
    let printable = text.chars().filter(|letter| !letter.is_control());
    printable.take(MAX_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_end_without_blanks() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let lines = aligned(&[row(["name", "http", "ws"]), row(["é", "no answer", ""])]);
        assert_eq!(lines, ["name  http       ws", "é     no answer"]);
        assert!(aligned(&[]).is_empty());
    }

    #[test]
    fn what_a_stranger_says_stays_in_its_cell() {
        assert_eq!(cell("Geth\u{1b}[2J\n/v1"), "Geth[2J/v1");
        assert_eq!(cell(&"x".repeat(100)).len(), 32);
    }
}
