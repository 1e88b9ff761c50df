//! Fields in both forms, and everything that is no field.

use super::*;

fn read<T>(
    bytes: &[u8],
    is_flexible: bool,
    read: impl FnOnce(&mut Reader<'_>) -> Result<T>,
) -> Result<T> {
    let frame = Bytes::copy_from_slice(bytes);
    read(&mut Reader::new(&frame, is_flexible))
}

fn problem<T: std::fmt::Debug>(
    bytes: &[u8],
    is_flexible: bool,
    wanted: impl FnOnce(&mut Reader<'_>) -> Result<T>,
) -> Problem {
    read(bytes, is_flexible, wanted).unwrap_err().problem
}

#[test]
fn strings_are_read_in_both_forms() {
    let text =
        |reader: &mut Reader<'_>| reader.nullable_string("it").map(|it| it.map(str::to_owned));
    assert_eq!(
        read(&[0, 2, b'h', b'w'], false, text),
        Ok(Some("hw".to_owned()))
    );
    assert_eq!(
        read(&[3, b'h', b'w'], true, text),
        Ok(Some("hw".to_owned()))
    );
    assert_eq!(read(&[0xFF, 0xFF], false, text), Ok(None));
    assert_eq!(read(&[0], true, text), Ok(None));
    assert_eq!(
        problem(&[0], true, |it| it.string("it").map(str::to_owned)),
        Problem::Null
    );
    assert_eq!(problem(&[2, 0xC3], true, text), Problem::Utf8);
    assert_eq!(problem(&[0xFF, 0xFE], false, text), Problem::Length(-2));
    let short = Problem::TooShort { needed: 5, left: 1 };
    assert_eq!(problem(&[0, 5, b'h'], false, text), short);
}

#[test]
fn an_array_announced_beyond_what_is_left_is_refused_before_it_is_built() {
    let array = |reader: &mut Reader<'_>| reader.array("them", |it| it.i8("it"));
    assert_eq!(read(&[0, 0, 0, 2, 7, 8], false, array), Ok(vec![7, 8]));
    assert_eq!(read(&[3, 7, 8], true, array), Ok(vec![7, 8]));
    let announced = problem(&[0x7F, 0xFF, 0xFF, 0xFF, 1], false, array);
    assert_eq!(
        announced,
        Problem::Count {
            count: i64::from(i32::MAX),
            left: 1
        }
    );
    let announced = problem(&[0xFF, 0xFF, 0xFF, 0xFF, 0x0F, 1], true, array);
    assert_eq!(
        announced,
        Problem::Count {
            count: i64::from(u32::MAX) - 1,
            left: 1
        }
    );
    assert_eq!(problem(&[0xFF; 4], false, array), Problem::Null);
    assert_eq!(
        problem(&[0xFF, 0xFF, 0xFF, 0xFE], false, array),
        Problem::Length(-2)
    );
}

#[test]
fn elements_are_counted_over_all_arrays_of_a_request() {
    let max = limits::KAFKA_REQUEST_ELEMENTS_MAX;
    let mut bytes = Vec::new();
    for count in [max / 2, max / 2 + 1] {
        bytes.extend_from_slice(&i32::try_from(count).unwrap().to_be_bytes());
        bytes.resize(bytes.len() + count, 0);
    }
    let found = problem(&bytes, false, |reader| {
        reader.array("first", |it| it.i8("it"))?;
        reader.array("second", |it| it.i8("it"))
    });
    assert_eq!(found, Problem::TooMany { max });
}

#[test]
fn varints_have_no_more_than_32_bits() {
    let varint = |reader: &mut Reader<'_>| reader.uvarint("it");
    assert_eq!(read(&[0xAC, 0x02], true, varint), Ok(300));
    assert_eq!(
        read(&[0xFF, 0xFF, 0xFF, 0xFF, 0x0F], true, varint),
        Ok(u32::MAX)
    );
    assert_eq!(
        problem(&[0xFF, 0xFF, 0xFF, 0xFF, 0x1F], true, varint),
        Problem::Varint
    );
    assert_eq!(problem(&[0x80; 9], true, varint), Problem::Varint);
    let short = Problem::TooShort { needed: 1, left: 0 };
    assert_eq!(problem(&[0x80], true, varint), short);
}

#[test]
fn tagged_fields_are_passed_over_and_what_stands_behind_the_end_is_told() {
    let end = |reader: &mut Reader<'_>| reader.end();
    assert_eq!(read(&[2, 0, 1, 9, 200, 1, 2, 9, 9], true, end), Ok(()));
    assert_eq!(read(&[], false, end), Ok(()));
    assert_eq!(problem(&[0], false, end), Problem::Trailing { left: 1 });
    assert_eq!(problem(&[0, 7], true, end), Problem::Trailing { left: 1 });
    let short = Problem::TooShort { needed: 5, left: 1 };
    assert_eq!(problem(&[1, 0, 5, 9], true, end), short);
}

#[test]
fn bytes_share_the_memory_of_their_frame() {
    let frame = Bytes::from_static(&[0, 0, 0, 3, 1, 2, 3]);
    let bytes = Reader::new(&frame, false).bytes("them").unwrap();
    assert_eq!(bytes, [1, 2, 3][..]);
    assert_eq!(bytes.as_ptr(), frame[4..].as_ptr());
}

#[test]
fn an_error_says_which_field_where_and_what() {
    let error = read(&[0, 1, 0], false, |reader| {
        reader.i16("acks")?;
        reader.i32("timeout_ms")
    });
    assert_eq!(
        error.unwrap_err().to_string(),
        "`timeout_ms`, at byte 2: 4 bytes expected, and 1 are left"
    );
}
