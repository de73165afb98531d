//! The types that a result can hold, as ODBC asks for them.

use arrow::error::ArrowError;
use arrow_flight::sql::metadata::{XdbcTypeInfo, XdbcTypeInfoData, XdbcTypeInfoDataBuilder};
use arrow_flight::sql::{Nullable, Searchable, XdbcDataType, XdbcDatetimeSubcode};

use super::sql_info::arrow_error;

/// Every type under the name that a CAST takes, in the protocol's order: by code, then by name.
///
/// # Errors
/// Where Arrow can't hold them.
pub(crate) fn xdbc_types() -> Result<XdbcTypeInfoData, ArrowError> {
    let mut types = XdbcTypeInfoDataBuilder::new();
    for one in types_of_results() {
        types.append(one);
    }
    types.build().map_err(arrow_error)
}

fn types_of_results() -> [XdbcTypeInfo; 14] {
    [
        XdbcTypeInfo {
            column_size: Some(1),
            ..named("BOOLEAN", XdbcDataType::XdbcBit)
        },
        integer("TINYINT", XdbcDataType::XdbcTinyint, 3),
        integer("SMALLINT", XdbcDataType::XdbcSmallint, 5),
        integer("INTEGER", XdbcDataType::XdbcInteger, 10),
        integer("BIGINT", XdbcDataType::XdbcBigint, 19),
        number("REAL", XdbcDataType::XdbcReal, 24, 2),
        number("DOUBLE", XdbcDataType::XdbcDouble, 53, 2),
        XdbcTypeInfo {
            create_params: Some(vec!["precision".to_owned(), "scale".to_owned()]),
            minimum_scale: Some(0),
            maximum_scale: Some(DECIMAL_DIGITS),
            ..number("DECIMAL", XdbcDataType::XdbcDecimal, DECIMAL_DIGITS, 10)
        },
        XdbcTypeInfo {
            column_size: Some(i32::MAX),
            create_params: Some(vec!["length".to_owned()]),
            case_sensitive: true,
            searchable: Searchable::Full,
            ..quoted("VARCHAR", XdbcDataType::XdbcVarchar, "'")
        },
        // A CAST knows no VARBINARY.
        XdbcTypeInfo {
            column_size: Some(i32::MAX),
            ..quoted("BYTEA", XdbcDataType::XdbcVarbinary, "X'")
        },
        XdbcTypeInfo {
            column_size: Some(length("2024-01-31")),
            sql_data_type: XdbcDataType::XdbcDatetime,
            // ODBC's code of a date has the number of a year in this enum.
            datetime_subcode: Some(XdbcDatetimeSubcode::XdbcSubcodeYear),
            ..quoted("DATE", XdbcDataType::XdbcDate, "DATE '")
        },
        XdbcTypeInfo {
            column_size: Some(length("23:59:59.999999999")),
            minimum_scale: Some(0),
            maximum_scale: Some(NANOSECOND_DIGITS),
            sql_data_type: XdbcDataType::XdbcDatetime,
            datetime_subcode: Some(XdbcDatetimeSubcode::XdbcSubcodeTime),
            ..quoted("TIME", XdbcDataType::XdbcTime, "TIME '")
        },
        XdbcTypeInfo {
            column_size: Some(length("2024-01-31 23:59:59.999999999")),
            create_params: Some(vec!["precision".to_owned()]),
            minimum_scale: Some(0),
            maximum_scale: Some(NANOSECOND_DIGITS),
            sql_data_type: XdbcDataType::XdbcDatetime,
            datetime_subcode: Some(XdbcDatetimeSubcode::XdbcSubcodeTimestamp),
            ..quoted("TIMESTAMP", XdbcDataType::XdbcTimestamp, "TIMESTAMP '")
        },
        // Months, days and nanoseconds in one: none of ODBC's subcodes has all three.
        XdbcTypeInfo {
            datetime_subcode: Some(XdbcDatetimeSubcode::XdbcSubcodeUnknown),
            ..quoted("INTERVAL", XdbcDataType::XdbcInterval, "INTERVAL '")
        },
    ]
}

/// Digits of the widest decimal.
const DECIMAL_DIGITS: i32 = 76;

/// Digits behind the point of a second.
const NANOSECOND_DIGITS: i32 = 9;

/// ODBC's size of a day or time is the length of its longest text.
const fn length(longest: &str) -> i32 {
    longest.len() as i32
}

fn integer(name: &str, data_type: XdbcDataType, digits: i32) -> XdbcTypeInfo {
    XdbcTypeInfo {
        minimum_scale: Some(0),
        maximum_scale: Some(0),
        ..number(name, data_type, digits, 10)
    }
}

/// A number of so many digits in its radix.
fn number(name: &str, data_type: XdbcDataType, digits: i32, radix: i32) -> XdbcTypeInfo {
    XdbcTypeInfo {
        column_size: Some(digits),
        unsigned_attribute: Some(false),
        auto_increment: Some(false),
        num_prec_radix: Some(radix),
        ..named(name, data_type)
    }
}

/// A type whose literals stand between this prefix and a quote.
fn quoted(name: &str, data_type: XdbcDataType, prefix: &str) -> XdbcTypeInfo {
    XdbcTypeInfo {
        literal_prefix: Some(prefix.to_owned()),
        literal_suffix: Some("'".to_owned()),
        ..named(name, data_type)
    }
}

/// What holds of every type: it has NULL, and can be compared though not searched by LIKE.
fn named(name: &str, data_type: XdbcDataType) -> XdbcTypeInfo {
    XdbcTypeInfo {
        type_name: name.to_owned(),
        data_type,
        nullable: Nullable::NullabilityNullable,
        searchable: Searchable::Basic,
        local_type_name: Some(name.to_owned()),
        sql_data_type: data_type,
        ..XdbcTypeInfo::default()
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;
    use arrow::datatypes::Int32Type;

    use super::*;

    #[test]
    fn types_come_by_code_and_then_by_name() {
        let types = xdbc_types().expect("the types fit");
        let types = types.record_batch(None).expect("all can be asked for");
        let names = types.column(0).as_string::<i32>().iter();
        let codes = types.column(1).as_primitive::<Int32Type>().iter();
        let order: Vec<_> = codes.zip(names).collect();
        assert_eq!(order.len(), 14);
        assert!(order.is_sorted(), "{order:?}");
    }

    #[test]
    fn a_type_can_be_asked_for_by_its_code() {
        let types = xdbc_types().expect("the types fit");
        let dates = types
            .record_batch(XdbcDataType::XdbcDate as i32)
            .expect("one can be asked for");
        let names: Vec<_> = dates.column(0).as_string::<i32>().iter().collect();
        assert_eq!(names, [Some("DATE")]);
    }
}
