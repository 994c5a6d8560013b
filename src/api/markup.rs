//! Text in markup: escaped, and put into the places that a template names.

/// Text as it may stand in markup, within quotes too.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// A template with each `{{name}}` replaced by what `value` says of it. What was put in is not read again, so no value can
/// name a place.
pub(super) fn render(template: &str, value: impl Fn(&str) -> String) -> String {
    let mut page = String::with_capacity(2 * template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        page.push_str(before);
        let (name, after) = after.split_once("}}").unwrap_or((after, ""));
        page.push_str(&value(name));
        rest = after;
    }
    page.push_str(rest);
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_text_ends_neither_an_element_nor_an_attribute() {
        assert_eq!(
            escape("<a href='x' b=\"y\">&"),
            "&lt;a href=&#39;x&#39; b=&quot;y&quot;&gt;&amp;"
        );
    }

    #[test]
    fn a_value_is_put_in_once_and_names_no_place() {
        let value = |name: &str| format!("{name}={{{{b}}}}");
        assert_eq!(render("1{{a}}2{{?c}}3", value), "1a={{b}}2?c={{b}}3");
        assert_eq!(render("no places }}", value), "no places }}");
    }
}
