//! Objects of S3 and what speaks like it: where they are, and AWS's signature (version 4) over the request.

use sha2::{Digest as _, Sha256};
use url::Url;

use crate::FetchError;
use crate::checksum::hex;
use crate::source::{Source, decode, encode};
use crate::web::Headers;

/// What signs requests. Has no `Debug`: it holds a secret.
pub(crate) struct Keys {
    pub(crate) id: String,
    pub(crate) secret: String,
    pub(crate) token: Option<String>,
}

/// Where an object is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Object {
    pub(crate) url: Url,
    pub(crate) region: String,
}

/// The keys of a source, or of the environment where the operator passes it on. None: ask as anybody may.
pub(crate) fn keys(
    source: &Source,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<Option<Keys>, FetchError> {
    if source.option("aws_profile").is_some() {
        return Err(FetchError::refused(
            "`aws_profile` would read the node's own AWS configuration; give aws_access_key_id and aws_access_key_secret",
        ));
    }
    let given = |option: &str| source.option(option).map(str::to_owned);
    match (given("aws_access_key_id"), given("aws_access_key_secret")) {
        (Some(id), Some(secret)) => Ok(Some(Keys { id, secret, token: given("aws_access_token") })),
        (None, None) => {
            let (id, secret) =
                (environment("AWS_ACCESS_KEY_ID"), environment("AWS_SECRET_ACCESS_KEY"));
            Ok(id.zip(secret).map(|(id, secret)| Keys {
                id,
                secret,
                token: environment("AWS_SESSION_TOKEN"),
            }))
        }
        _ => Err(FetchError::refused(
            "aws_access_key_id and aws_access_key_secret go together; one is missing",
        )),
    }
}

/// Finds the object that a source names: `s3.amazonaws.com/bucket/key`, `s3-region…`, `s3.region…`,
/// `bucket.s3.region.amazonaws.com/key`, or any other host with `/bucket/key`.
pub(crate) fn object(source: &Source) -> Result<Object, FetchError> {
    let host = source.authority.as_str();
    let mut region = source.option("region").map(str::to_owned);
    if let Some(name) = host.strip_suffix(".amazonaws.com") {
        // s3 | s3-region | s3.region | bucket.s3 | bucket.s3-region | bucket.s3.region
        let at = name
            .find("s3")
            .filter(|at| *at == 0 || name.get(..*at).is_some_and(|before| before.ends_with('.')));
        let after = at.and_then(|at| name.get(at + 2..)).unwrap_or_default();
        let named = after.trim_start_matches(['.', '-']);
        if region.is_none() && !named.is_empty() && named != "dualstack" {
            region = Some(named.trim_start_matches("dualstack.").to_owned());
        }
    }
    let path = encode(&decode(&source.path), true);
    let mut url = Url::parse(&format!("{}://{host}{path}", source.scheme))
        .map_err(|_| FetchError::refused("the S3 address cannot be read"))?;
    if url.path().trim_matches('/').is_empty() {
        return Err(FetchError::refused(
            "the S3 address names no object: write s3::https://host/bucket/key",
        ));
    }
    if let Some(version) = source.option("version") {
        url.set_query(Some(&format!("versionId={}", encode(version, false))));
    }
    Ok(Object { url, region: region.unwrap_or_else(|| "us-east-1".to_owned()) })
}

/// The headers of a signed GET; `extra` are signed with it. `at` is `20130524T000000Z`.
pub(crate) fn sign(object: &Object, keys: &Keys, at: &str, extra: &Headers) -> Headers {
    let empty = hex(&Sha256::digest(b""));
    let url = &object.url;
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let host = format!("{}{port}", url.host_str().unwrap_or_default());
    let mut headers: Headers =
        extra.iter().map(|(name, value)| (name.to_lowercase(), value.trim().to_owned())).collect();
    headers.push(("x-amz-content-sha256".to_owned(), empty.clone()));
    headers.push(("x-amz-date".to_owned(), at.to_owned()));
    headers.extend(keys.token.clone().map(|token| ("x-amz-security-token".to_owned(), token)));
    let mut signed = headers.clone();
    signed.push(("host".to_owned(), host));
    signed.sort();
    let names: Vec<_> = signed.iter().map(|(name, _)| name.as_str()).collect();
    let names = names.join(";");
    let canonical: String =
        signed.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
    let request = format!(
        "GET\n{}\n{}\n{canonical}\n{names}\n{empty}",
        url.path(),
        url.query().unwrap_or_default()
    );
    let day = at.get(..8).unwrap_or(at);
    let scope = format!("{day}/{}/s3/aws4_request", object.region);
    let text =
        format!("AWS4-HMAC-SHA256\n{at}\n{scope}\n{}", hex(&Sha256::digest(request.as_bytes())));
    let key = [day, object.region.as_str(), "s3", "aws4_request"]
        .iter()
        .fold(format!("AWS4{}", keys.secret).into_bytes(), |key, part| {
            hmac(&key, part.as_bytes()).to_vec()
        });
    let signature = hex(&hmac(&key, text.as_bytes()));
    let value = format!(
        "AWS4-HMAC-SHA256 Credential={}/{scope},SignedHeaders={names},Signature={signature}",
        keys.id
    );
    headers.push(("authorization".to_owned(), value));
    headers
}

/// HMAC-SHA-256 (RFC 2104).
fn hmac(key: &[u8], text: &[u8]) -> [u8; 32] {
    const BLOCK: usize = 64;
    let mut padded = [0_u8; BLOCK];
    let short = if key.len() > BLOCK { Sha256::digest(key).to_vec() } else { key.to_vec() };
    padded.iter_mut().zip(&short).for_each(|(to, from)| *to = *from);
    let pad = |with: u8| padded.map(|byte| byte ^ with);
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(text).finalize();
    Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize().into()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn source(text: &str) -> Source {
        Source::parse(text, &BTreeMap::new()).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    /// RFC 4231, cases 1, 2 and 6.
    #[test]
    fn hmac_is_the_standards() {
        for (key, text, digest) in [
            (
                vec![0x0b; 20],
                &b"Hi There"[..],
                "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
            ),
            (
                b"Jefe".to_vec(),
                b"what do ya want for nothing?",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (
                vec![0xaa; 131],
                b"Test Using Larger Than Block-Size Key - Hash Key First",
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            ),
        ] {
            assert_eq!(hex(&hmac(&key, text)), digest);
        }
    }

    /// The example "GET Object" that Amazon publishes with the description of the signature.
    #[test]
    fn the_published_example_comes_out() {
        let object = object(&source("s3::https://examplebucket.s3.amazonaws.com/test.txt"))
            .expect("an object");
        let keys = Keys {
            id: "AKIAIOSFODNN7EXAMPLE".into(),
            secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".into(),
            token: None,
        };
        let extra = vec![("Range".to_owned(), "bytes=0-9".to_owned())];
        let headers = sign(&object, &keys, "20130524T000000Z", &extra);
        let authorization = &headers.last().expect("headers").1;
        assert!(
            authorization.ends_with(
                "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,\
                 Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
            ),
            "{authorization}"
        );
    }

    #[test]
    fn objects_are_found_in_their_regions() {
        for (text, url, region) in [
            (
                "s3::https://s3.amazonaws.com/b/k.txt",
                "https://s3.amazonaws.com/b/k.txt",
                "us-east-1",
            ),
            (
                "s3::https://s3-eu-west-1.amazonaws.com/b/k",
                "https://s3-eu-west-1.amazonaws.com/b/k",
                "eu-west-1",
            ),
            (
                "s3::https://b.s3.eu-central-1.amazonaws.com/a%20b",
                "https://b.s3.eu-central-1.amazonaws.com/a%20b",
                "eu-central-1",
            ),
            (
                "s3::http://127.0.0.1:9000/b/k?region=here&version=7",
                "http://127.0.0.1:9000/b/k?versionId=7",
                "here",
            ),
        ] {
            let object = object(&source(text)).expect("an object");
            assert_eq!((object.url.as_str(), object.region.as_str()), (url, region), "{text}");
        }
        assert!(object(&source("s3::https://s3.amazonaws.com")).is_err());
        let none = |_: &str| None;
        assert!(keys(&source("s3::https://h/b/k?aws_access_key_id=A"), none).is_err());
        assert!(keys(&source("s3::https://h/b/k?aws_profile=x"), none).is_err());
        assert!(keys(&source("s3::https://h/b/k"), none).expect("anonymous").is_none());
    }
}
