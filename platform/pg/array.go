package pg

import (
	"context"
	"encoding/binary"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// A batch of rows goes to PostgreSQL as one array a column. pgx encodes an array element by element, each in an interface value that it
// allocates; arrayCodec does it for the types that batches consist of in one go.

// encodeArrays has a connection encode arrays by arrayCodec.
func encodeArrays(_ context.Context, conn *pgx.Conn) error {
	types := conn.TypeMap()
	for _, oid := range []uint32{pgtype.TextArrayOID, pgtype.Int8ArrayOID, pgtype.UUIDArrayOID, pgtype.ByteaArrayOID} {
		known, ok := types.TypeForOID(oid)
		if !ok {
			continue
		}
		if array, ok := known.Codec.(*pgtype.ArrayCodec); ok {
			types.RegisterType(&pgtype.Type{Name: known.Name, OID: oid, Codec: arrayCodec{array}})
		}
	}
	return nil
}

// arrayCodec is pgx's codec of an array of texts, int8s, UUIDs or byte strings, with a shorter way from Go's slices to the binary format.
type arrayCodec struct{ *pgtype.ArrayCodec }

// PlanEncode implements pgtype.Codec.
func (c arrayCodec) PlanEncode(m *pgtype.Map, oid uint32, format int16, value any) pgtype.EncodePlan {
	if format == pgtype.BinaryFormatCode {
		element := c.ElementType.OID
		switch value.(type) {
		case []string:
			if element == pgtype.TextOID {
				return arrayPlan[string]{element, textSize, appendText}
			}
		case []int64:
			if element == pgtype.Int8OID {
				return arrayPlan[int64]{element, int8Size, appendInt8}
			}
		case [][16]byte:
			if element == pgtype.UUIDOID {
				return arrayPlan[[16]byte]{element, uuidSize, appendUUID}
			}
		case [][]byte:
			if element == pgtype.ByteaOID {
				return arrayPlan[[]byte]{element, byteaSize, appendBytea}
			}
		}
	}
	return c.ArrayCodec.PlanEncode(m, oid, format, value)
}

// arrayPlan encodes a slice of T.
type arrayPlan[T any] struct {
	element uint32 // OID
	size    func(T) int
	append  func([]byte, T) []byte
}

const null = -1 // as the size of an element

// Encode implements pgtype.EncodePlan. A nil slice is NULL. The format is that of array_send in PostgreSQL: the number of dimensions,
// whether there are NULLs, the type of the elements, length and lower bound of the dimension, then each element behind its size.
func (p arrayPlan[T]) Encode(value any, buf []byte) ([]byte, error) {
	list, ok := value.([]T)
	if !ok || list == nil {
		return nil, nil //nolint:nilnil // what pgx takes for NULL
	}
	total, nulls := 20, uint32(0)
	for _, v := range list {
		n := p.size(v)
		if n == null {
			nulls, n = 1, 0
		}
		total += 4 + n
	}
	buf = slices.Grow(buf, total)
	for _, field := range [...]uint32{1, nulls, p.element, uint32(len(list)), 1} { //nolint:gosec // bounded by what a message holds
		buf = binary.BigEndian.AppendUint32(buf, field)
	}
	for _, v := range list {
		n := p.size(v)
		buf = binary.BigEndian.AppendUint32(buf, uint32(n)) //nolint:gosec // as above; NULL is -1
		if n > 0 {
			buf = p.append(buf, v)
		}
	}
	return buf, nil
}

func textSize(s string) int { return len(s) }
func int8Size(int64) int    { return 8 }
func uuidSize([16]byte) int { return 16 }
func byteaSize(b []byte) int {
	if b == nil {
		return null
	}
	return len(b)
}

func appendText(buf []byte, s string) []byte    { return append(buf, s...) }
func appendInt8(buf []byte, n int64) []byte     { return binary.BigEndian.AppendUint64(buf, uint64(n)) } //nolint:gosec // two's complement
func appendUUID(buf []byte, id [16]byte) []byte { return append(buf, id[:]...) }
func appendBytea(buf []byte, b []byte) []byte   { return append(buf, b...) }
