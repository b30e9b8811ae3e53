//! Events of each type, whole and damaged.

use super::event::{EventBody, FormatContext, kind, parse};
use proptest::prelude::*;
use tributary_schemas::gtid::GtidSet;

fn format_description() -> Vec<u8> {
    let mut data = vec![4, 0];
    let mut version = b"8.0.36-log".to_vec();
    version.resize(50, 0);
    data.extend(version);
    data.extend([0, 0, 0, 0, 19]);
    let mut lengths = vec![0; 42];
    lengths[1] = 13;
    lengths[18] = 8;
    lengths[29..32].fill(10);
    data.extend(lengths);
    data
}

/// Data of one event of each type that has any.
fn samples() -> Vec<(u8, Vec<u8>)> {
    let uuid = [0x11; 16];
    let gtid = [&[0][..], &uuid, &5_u64.to_le_bytes(), &[2], &[0; 16], &[1; 7], &[99]].concat();
    let tagged_uuid: Vec<u8> = uuid.iter().map(|byte| byte << 1).collect();
    let tagged = [&[2, 80, 18, 0, 0, 2][..], &tagged_uuid, &[4, 20, 6, 6, b'a', b'b', b'c', 12, 2]].concat();
    let previous =
        [&1_u64.to_le_bytes()[..], &uuid, &1_u64.to_le_bytes(), &1_u64.to_le_bytes(), &4_u64.to_le_bytes()];
    vec![
        (kind::FORMAT_DESCRIPTION, format_description()),
        (kind::ROTATE, b"\x04\0\0\0\0\0\0\0binlog.000002".to_vec()),
        (kind::GTID, gtid),
        (kind::GTID_TAGGED, tagged),
        (kind::PREVIOUS_GTIDS, previous.concat()),
        (kind::QUERY, b"\x01\0\0\0\0\0\0\0\x04\0\0\x05\0\0\0\0\0\0shop\0DROP TABLE x".to_vec()),
        (
            kind::TABLE_MAP,
            b"\x07\0\0\0\0\0\x01\0\x04shop\0\x06orders\0\x02\x03\x0f\x02\x50\0\x02\x01\x01\0".to_vec(),
        ),
        (kind::WRITE_ROWS, b"\x07\0\0\0\0\0\x01\0\x02\0\x02\xff\0\x01\0\0\0\x02ab".to_vec()),
        (
            kind::UPDATE_ROWS_V1,
            b"\x07\0\0\0\0\0\x01\0\x02\xff\xff\0\x01\0\0\0\x02ab\0\x01\0\0\0\x02ac".to_vec(),
        ),
        (kind::XID, 77_u64.to_le_bytes().to_vec()),
        (kind::XA_PREPARE, b"\0\x01\0\0\0\x02\0\0\0\x01\0\0\0abc".to_vec()),
        (kind::HEARTBEAT, b"binlog.000002".to_vec()),
        (kind::HEARTBEAT_V2, b"\x01\x05b.001\x02\x09\xfe\0\0\0\0\x02\0\0\0\0".to_vec()),
        (kind::INCIDENT, b"\x01\0\x04lost".to_vec()),
        (kind::ROWS_QUERY, b"\x08INSERT x".to_vec()),
    ]
}

#[test]
fn each_type_is_understood() {
    let context = FormatContext::default();
    for (kind, data) in samples() {
        let body = parse(kind, &data, &context).unwrap_or_else(|error| panic!("{kind}: {error}"));
        match (kind, body) {
            (kind::FORMAT_DESCRIPTION, EventBody::FormatDescription(context)) => {
                assert_eq!(context.server_version, "8.0.36-log");
                assert_eq!(context.post_header_length(kind::WRITE_ROWS), 10);
                assert_eq!(context.post_header_length(kind::TABLE_MAP), 8);
                assert_eq!(context.post_header_length(0), 0);
            }
            (kind::ROTATE, body) => assert_eq!(body, EventBody::Rotate { offset: 4, file: "binlog.000002" }),
            (kind::GTID, EventBody::Gtid(event)) => assert_eq!(event.gtid.number, 5),
            (kind::GTID_TAGGED, EventBody::Gtid(event)) => {
                assert_eq!(event.gtid.to_string(), "11111111-1111-1111-1111-111111111111:abc:5");
            }
            (kind::PREVIOUS_GTIDS, EventBody::PreviousGtids(set)) => {
                assert_eq!(set, "11111111-1111-1111-1111-111111111111:1-3".parse::<GtidSet>().unwrap());
            }
            (kind::QUERY, EventBody::Query(query)) => assert_eq!(query.statement, b"DROP TABLE x"),
            (kind::TABLE_MAP, EventBody::TableMap(map)) => {
                assert_eq!((map.table_id, map.database, map.table), (7, "shop", "orders"));
                assert_eq!(map.decode().unwrap().columns.len(), 2);
            }
            (kind::WRITE_ROWS | kind::UPDATE_ROWS_V1, EventBody::Rows(rows)) => assert_eq!(rows.table_id, 7),
            (kind::XID, body) => assert_eq!(body, EventBody::Xid(77)),
            (kind::XA_PREPARE, EventBody::XaPrepare { xid, one_phase }) => {
                assert_eq!((xid.to_string().as_str(), one_phase), ("X'6162',X'63',1", false));
            }
            (kind::HEARTBEAT, body) => {
                assert_eq!(body, EventBody::Heartbeat { file: b"binlog.000002", offset: None });
            }
            (kind::HEARTBEAT_V2, body) => {
                assert_eq!(body, EventBody::Heartbeat { file: b"b.001", offset: Some(2 << 32) });
            }
            (kind::INCIDENT, body) => assert_eq!(body, EventBody::Incident { code: 1, message: b"lost" }),
            (kind::ROWS_QUERY, body) => assert_eq!(body, EventBody::RowsQuery(b"INSERT x")),
            (kind, body) => panic!("{kind} is {body:?}"),
        }
    }
    for (kind, body) in [
        (kind::STOP, EventBody::Stop),
        (kind::RAND, EventBody::StatementFormat(kind::RAND)),
        (kind::BEGIN_LOAD_QUERY, EventBody::StatementFormat(kind::BEGIN_LOAD_QUERY)),
        (kind::VIEW_CHANGE, EventBody::Other(kind::VIEW_CHANGE)),
        (kind::TRANSACTION_PAYLOAD, EventBody::Other(kind::TRANSACTION_PAYLOAD)),
        (20, EventBody::Unknown(20)),
        (43, EventBody::Unknown(43)),
        (162, EventBody::Unknown(162)),
    ] {
        assert_eq!(parse(kind, &[], &context), Ok(body));
    }
}

proptest! {
    #[test]
    fn damaged_events_never_panic(
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..5),
        cut in any::<prop::sample::Index>(),
        other: u8,
    ) {
        let EventBody::FormatDescription(context) =
            parse(kind::FORMAT_DESCRIPTION, &format_description(), &FormatContext::default()).unwrap()
        else {
            panic!()
        };
        for (kind, mut data) in samples() {
            for (at, value) in &flips {
                let at = at.index(data.len());
                data[at] = *value;
            }
            data.truncate(cut.index(data.len() + 1));
            for kind in [kind, other] {
                if let Ok(EventBody::TableMap(map)) = parse(kind, &data, &context) {
                    let _ = map.decode();
                }
            }
        }
    }
}
