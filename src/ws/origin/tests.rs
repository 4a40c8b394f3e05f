use hyper::Request;
use hyper::header::HeaderValue;

use super::*;

fn admits(rule: &OriginRule, parts: &Parts) -> bool {
    rule.judge(parts) == Verdict::Admitted
}

fn parts(host: &str, origins: &[&str]) -> Parts {
    let request = Request::builder().uri("/ws").header("host", host);
    let request = origins.iter().fold(request, |request, origin| request.header("origin", *origin));
    request.body(()).expect("a request").into_parts().0
}

#[test]
fn pages_of_the_same_host_and_port_are_admitted_by_default() {
    let rule = OriginRule::default();
    for (host, origin, admitted) in [
        ("a.example", "https://a.example", true),
        ("a.example", "http://a.example", true),
        ("A.example", "https://a.EXAMPLE", true),
        ("a.example:443", "https://a.example", true),
        ("a.example", "https://a.example:443", true),
        ("a.example:8080", "http://a.example:8080", true),
        ("[::1]:8080", "http://[::1]:8080", true),
        ("a.example:8080", "http://a.example", false),
        ("a.example", "https://a.example:8443", false),
        ("a.example:80", "https://a.example", false),
        ("a.example", "https://b.example", false),
        ("a.example", "https://a.example.evil", false),
        ("a.example", "https://evil-a.example", false),
        ("a.example", "https://x.a.example", false),
        ("a.example", "null", false),
        ("a.example", "", false),
        ("a.example", "https://a.example/", false),
        ("a.example", "https://a.example/path", false),
        ("a.example", "https://user@a.example", false),
        ("a.example", "https://user@a.example:443", false),
        ("a.example", "https://a.example@b.example", false),
        ("a.example", "h!://a.example", false),
        ("a.example", "https://a.example:", false),
        ("a.example", "https://a.example:99999", false),
        ("a.example", "://a.example", false),
        ("a.example", "a.example", false),
        ("", "https://a.example", false),
    ] {
        assert_eq!(admits(&rule, &parts(host, &[origin])), admitted, "{origin} to {host:?}");
    }
}

#[test]
fn request_without_an_origin_is_admitted_unless_one_is_required_and_two_origins_are_refused() {
    let mut rule = OriginRule::default();
    let origin = "https://a.example";
    assert!(admits(&rule, &parts("a.example", &[])));
    assert!(!admits(&rule, &parts("a.example", &[origin, origin])));
    rule.is_required = true;
    assert!(!admits(&rule, &parts("a.example", &[])));
    assert!(admits(&rule, &parts("a.example", &[origin])));
    rule.allow_any();
    assert!(admits(&rule, &parts("a.example", &["https://b.example"])));
    assert!(!admits(&rule, &parts("a.example", &[])));
}

#[test]
fn listed_origins_match_in_scheme_host_and_port_and_replace_the_own_host() {
    let mut rule = OriginRule::default();
    assert_eq!(rule.allow("https://a.example"), Ok(()));
    assert_eq!(rule.allow("http://b.example:8080"), Ok(()));
    for (origin, admitted) in [
        ("https://a.example", true),
        ("https://a.example:443", true),
        ("http://b.example:8080", true),
        ("http://a.example", false),
        ("https://a.example:444", false),
        ("https://b.example:8080", false),
        ("http://b.example", false),
        ("https://own.example", false),
    ] {
        assert_eq!(admits(&rule, &parts("own.example", &[origin])), admitted, "{origin}");
    }
}

#[test]
fn scheme_without_a_port_of_its_own_can_be_allowed() {
    let mut rule = OriginRule::default();
    assert_eq!(rule.allow("chrome-extension://abcdef"), Ok(()));
    for (origin, admitted) in [
        ("chrome-extension://abcdef", true),
        ("chrome-extension://abcdeg", false),
        ("chrome-extension://abcdef:80", false),
        ("http://abcdef", false),
    ] {
        assert_eq!(admits(&rule, &parts("own.example", &[origin])), admitted, "{origin}");
    }
}

#[test]
fn server_named_in_the_uri_has_precedence_over_the_host_header() {
    let request = Request::builder().uri("http://a.example/ws").header("host", "b.example");
    let request = request.header("origin", "http://a.example").body(()).expect("a request");
    let mut parts = request.into_parts().0;
    let rule = OriginRule::default();
    assert!(admits(&rule, &parts));
    parts.headers.insert(header::ORIGIN, HeaderValue::from_static("http://b.example"));
    assert!(!admits(&rule, &parts));
}

#[test]
fn own_host_admits_only_pages_over_http() {
    let rule = OriginRule::default();
    for origin in ["chrome-extension://a.example", "ws://a.example", "file://", "null"] {
        assert!(!admits(&rule, &parts("a.example", &[origin])), "{origin}");
    }
}

#[test]
fn pattern_matches_names_of_any_depth_below_its_own() {
    let mut rule = OriginRule::default();
    assert_eq!(rule.allow("https://*.example.com"), Ok(()));
    assert_eq!(rule.allow("http://*.LOCALHOST:8080"), Ok(()));
    for (origin, admitted) in [
        ("https://a.example.com", true),
        ("https://a.b.example.com", true),
        ("https://A.EXAMPLE.COM:443", true),
        ("http://a.localhost:8080", true),
        ("https://example.com", false),
        ("https://.example.com", false),
        ("https://a..example.com", false),
        ("https://evil-example.com", false),
        ("https://a.example.com.evil", false),
        ("https://a.example.com.", false),
        ("https://a.example.com:8443", false),
        ("http://a.example.com", false),
        ("http://a.localhost", false),
        ("https://[::1]", false),
        ("https://evil@a.example.com", false),
        ("https://evil/a.example.com", false),
        ("null", false),
    ] {
        assert_eq!(admits(&rule, &parts("own.example", &[origin])), admitted, "{origin}");
    }
}

#[test]
fn pages_without_a_host_are_admitted_if_they_are_listed() {
    for listed in ["null", "file://"] {
        let mut rule = OriginRule::default();
        assert_eq!(rule.allow(listed), Ok(()));
        for origin in ["null", "file://", "https://a.example"] {
            let admitted = admits(&rule, &parts("own.example", &[origin]));
            assert_eq!(admitted, origin == listed, "{origin} where {listed} is listed");
        }
    }
}

#[test]
fn origin_that_the_rule_does_not_allow_is_left_to_a_check_of_the_application() {
    let rule = OriginRule::default();
    for origin in ["https://b.example", "null", "not an origin", ""] {
        let parts = parts("a.example", &[origin]);
        assert_eq!(rule.judge(&parts), Verdict::NotListed(origin));
    }
}

#[test]
fn origin_that_a_browser_sends_can_be_listed() {
    for listed in [
        "https://a.example",
        "HTTPS://A.Example:443",
        "https://a.example.",
        "https://a_b.example",
        "http://127.0.0.1:8080",
        "http://0.0.0.0",
        "http://1.example",
        "http://0xg",
        "http://[::1]:8080",
        "http://[2001:DB8::1]",
        "http://[::ffff:102:304]",
        "http://[::102:304]",
        "https://xn--bcher-kva.example",
        "tauri://localhost",
    ] {
        let mut rule = OriginRule::default();
        assert_eq!(rule.allow(listed), Ok(()), "{listed}");
        assert!(admits(&rule, &parts("own.example", &[listed])), "{listed}");
    }
}

#[test]
fn origin_that_no_browser_sends_is_refused_with_the_reason() {
    for (reason, origins) in [
        ("`allow_any_origin`", &["*"][..]),
        ("no scheme", &["", "a.example", "//a.example", "NULL"]),
        ("scheme is malformed", &["://a", "h!://a", "1http://a"]),
        ("http:// or https://", &["ws://a.example", "WSS://a.example"]),
        ("`null`", &["file://a", "file:///", "data://a", "blob://a"]),
        ("no valid host or port", &["https://", "https://:80", "https://a:", "https://a b"]),
        ("no valid host or port", &["https://a:65536", "https://a:-1", "https://a:x"]),
        ("no valid host or port", &["https://[::g]", "https://[::1", "https://[::1]a"]),
        ("port 0", &["https://a:0", "tauri://a:0", "https://*.a:0"]),
        ("ends with", &["https://a/", "https://a/b", "https://a?b", "https://a#b"]),
        ("no user", &["https://u@a", "https://u:p@a", "https://@a"]),
        ("first labels", &["https://*", "https://a.*", "https://*a.b", "https://*.*.a"]),
        ("first labels", &["https://a:*", "chrome-extension://*", "https://a.*.b"]),
        ("no valid host or port", &["https://*.", "https://*.:80"]),
        ("punycode", &["https://bücher.example", "https://*.bücher.example"]),
        ("percent", &["https://a%2db"]),
        ("four decimal", &["https://127.1", "https://2130706433", "https://0x7f.0.0.1"]),
        ("four decimal", &["https://127.0.0.01", "https://127.0.0.1.", "https://1.2.3.256"]),
        ("four decimal", &["https://a.0x", "https://a.7"]),
        ("shortest form", &["https://[0:0:0:0:0:0:0:1]", "https://[::ffff:1.2.3.4]"]),
        ("shortest form", &["https://[::1.2.3.4]", "https://[2001:db8:0:0::1]"]),
        ("below an address", &["https://*.127.0.0.1", "https://*.[::1]", "https://*.1"]),
    ] {
        for origin in origins {
            let refused = OriginRule::default().allow(origin).expect_err(origin);
            assert!(refused.contains(reason), "{origin}: {refused}");
        }
    }
}
