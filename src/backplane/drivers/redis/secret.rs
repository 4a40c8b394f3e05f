//! Keeps passwords out of errors and logs.

/// The words with which a server repeats the arguments of a command that it does not know. An old
/// server answers `HELLO` in this way, whose arguments contain the password, cut off if it is long.
const ARGUMENTS: &str = "with args beginning with";

/// A password, in every form in which a text could contain it.
#[derive(Clone, Default)]
pub(super) struct Secret {
    /// The longest form first, so that a shorter form does not destroy a longer one that contains
    /// it.
    forms: Vec<String>,
}

impl Secret {
    /// The password as it stands in a URL, and as it is decoded.
    pub(super) fn new(url: &str, password: Option<&str>) -> Self {
        let mut forms: Vec<String> = typed(url).into_iter().map(str::to_owned).collect();
        if let Some(parsed) = redis::parse_redis_url(url) {
            forms.extend(parsed.password().map(str::to_owned));
        }
        if let Some(password) = password {
            forms.push(password.to_owned());
            forms.push(password.escape_debug().to_string());
        }
        forms.retain(|form| !form.is_empty());
        forms.sort_by_key(|form| std::cmp::Reverse(form.len()));
        Self { forms }
    }

    /// Returns the text without the password.
    pub(super) fn scrub(&self, text: &str) -> String {
        let text = text.split(ARGUMENTS).next().unwrap_or_default().trim_end_matches([' ', ',']);
        self.forms.iter().fold(text.to_owned(), |text, form| text.replace(form, "***"))
    }
}

/// The password of a URL, as it stands there.
fn typed(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    match rest.rsplit_once('@') {
        Some((user, _)) => user.split_once(':').map(|(_, password)| password),
        // The URL of a Unix socket.
        None => rest.split(['?', '&']).find_map(|part| part.strip_prefix("pass=")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn password_is_scrubbed_in_every_form() {
        let secret = Secret::new("redis://me:p%40ss%2Fw^rd@host:6379", Some("p@ss/w^rd"));
        for form in ["p@ss/w^rd", "p%40ss%2Fw^rd", "p%40ss%2Fw%5Erd"] {
            assert_eq!(secret.scrub(&format!("before {form} after")), "before *** after");
        }
    }

    #[test]
    fn password_for_a_socket_is_scrubbed() {
        let secret = Secret::new("unix:///redis.sock?db=0&pass=p%40ss", Some("p@ss"));
        for form in ["p@ss", "p%40ss"] {
            assert_eq!(secret.scrub(&format!("before {form} after")), "before *** after");
        }
    }

    #[test]
    fn arguments_that_a_server_repeats_are_cut_off() {
        let secret = Secret::new("redis://:long@host", Some("long"));
        let text = "ERR unknown command `HELLO`, with args beginning with: `3`, `AUTH`, `lon";
        assert_eq!(secret.scrub(text), "ERR unknown command `HELLO`");
    }

    #[test]
    fn text_is_left_alone_where_there_is_no_password() {
        for url in ["redis://host", "redis://user@host", "redis://user:@host"] {
            assert_eq!(Secret::new(url, None).scrub("broken pipe"), "broken pipe");
        }
    }
}
