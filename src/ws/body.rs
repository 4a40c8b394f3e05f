//! The body of the HTTP responses that the crate makes.

use std::borrow::Cow;
use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};

/// An HTTP response. Its body is [`Body`], unless another type is named.
pub type Response<B = Body> = hyper::Response<B>;

/// The body of a response: bytes that are all in memory. The default body is empty.
///
/// A body is made from text or bytes. A `&'static str`, `&'static [u8]` or `Bytes` is not copied. A
/// clone shares the bytes.
///
/// # Examples
/// A page beside a hub:
/// ```no_run
/// use std::convert::Infallible;
///
/// use hyper::service::service_fn;
/// use roomcast::{Body, Hub, Response, Server};
///
/// # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
/// let hub = Hub::<String>::new();
/// let page = service_fn(async |_| Ok::<_, Infallible>(Response::new(Body::from("hello"))));
/// let server = Server::bind("127.0.0.1:8080").await?
///     .route("/ws", hub.handle(hub.handlers()))?
///     .fallback(page);
/// server.run().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Body(
    /// `None` if the body is empty or has been sent.
    Option<Bytes>,
);

impl Body {
    /// Returns an empty body.
    pub const fn empty() -> Self {
        Self(None)
    }

    /// Returns the bytes that have not been sent.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_deref().unwrap_or_default()
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.as_bytes().len() as u64)
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self(Some(bytes).filter(|bytes| !bytes.is_empty()))
    }
}

impl From<&'static [u8]> for Body {
    fn from(bytes: &'static [u8]) -> Self {
        Bytes::from_static(bytes).into()
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        text.as_bytes().into()
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from(bytes).into()
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        text.into_bytes().into()
    }
}

impl From<Cow<'static, str>> for Body {
    fn from(text: Cow<'static, str>) -> Self {
        match text {
            Cow::Borrowed(text) => text.into(),
            Cow::Owned(text) => text.into(),
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Body(\"{}\")", self.as_bytes().escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use futures_util::future::poll_fn;

    use super::*;

    /// Returns the next bytes. A body is always ready.
    fn next(body: &mut Body) -> Option<Bytes> {
        let frame = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).now_or_never();
        let frame = frame.expect("a body is ready")?.unwrap_or_else(|never| match never {});
        Some(frame.into_data().expect("it has no trailers"))
    }

    #[test]
    fn body_states_its_size_and_is_sent_once() {
        let text = "some text";
        let bodies: [Body; 5] = [
            text.into(),
            text.as_bytes().into(),
            text.to_owned().into(),
            Cow::from(text).into(),
            Bytes::from(text).into(),
        ];
        for mut body in bodies {
            assert_eq!((body.size_hint().exact(), body.is_end_stream()), (Some(9), false));
            assert_eq!(body.as_bytes(), text.as_bytes());
            assert_eq!(next(&mut body), Some(Bytes::from(text)));
            assert_eq!((body.size_hint().exact(), body.is_end_stream()), (Some(0), true));
            assert_eq!(next(&mut body), None);
        }
    }

    #[test]
    fn body_without_bytes_has_no_frame() {
        for mut body in [Body::empty(), Body::default(), "".into(), Vec::new().into()] {
            assert_eq!((body.size_hint().exact(), body.is_end_stream()), (Some(0), true));
            assert_eq!(next(&mut body), None);
        }
        assert_eq!(format!("{:?}", Body::from("a\n")), r#"Body("a\n")"#);
    }
}
