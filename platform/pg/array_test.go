package pg

import (
	"bytes"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgtype"
)

// TestArrays compares with what pgx makes of the same values, byte for byte.
func TestArrays(t *testing.T) {
	t.Parallel()
	for name, v := range map[string]struct {
		oid   uint32
		value any
	}{
		"texts":        {pgtype.TextArrayOID, []string{"a", "", "ü\x00\"{},\\", strings.Repeat("x", 70_000), "NULL"}},
		"no texts":     {pgtype.TextArrayOID, []string{}},
		"nil texts":    {pgtype.TextArrayOID, []string(nil)},
		"numbers":      {pgtype.Int8ArrayOID, []int64{0, -1, 1 << 62, -1 << 63}},
		"no numbers":   {pgtype.Int8ArrayOID, []int64{}},
		"ids":          {pgtype.UUIDArrayOID, [][16]byte{{1}, {15: 255}, {}}},
		"bytes":        {pgtype.ByteaArrayOID, [][]byte{{1, 2}, nil, {}, bytes.Repeat([]byte{7}, 300)}},
		"other type":   {pgtype.TextArrayOID, []*string{nil}},
		"named type":   {pgtype.TextArrayOID, pgtype.FlatArray[string]{"a"}},
		"other number": {pgtype.Int8ArrayOID, []int{3}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			types := pgtype.NewMap()
			want, err := types.Encode(v.oid, pgtype.BinaryFormatCode, v.value, []byte("before"))
			if err != nil {
				t.Fatal(err)
			}
			known, _ := types.TypeForOID(v.oid)
			ours := pgtype.NewMap()
			ours.RegisterType(&pgtype.Type{Name: known.Name, OID: v.oid, Codec: arrayCodec{known.Codec.(*pgtype.ArrayCodec)}})
			got, err := ours.Encode(v.oid, pgtype.BinaryFormatCode, v.value, []byte("before"))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("%x\nwant %x", got, want)
			}
		})
	}
}

func BenchmarkArray(b *testing.B) {
	list := make([]string, 50)
	for i := range list {
		list[i] = "0198c0de-0000-7000-8000-000000000000"
	}
	known, _ := pgtype.NewMap().TypeForOID(pgtype.TextArrayOID)
	for name, codec := range map[string]pgtype.Codec{"pgx": known.Codec, "ours": arrayCodec{known.Codec.(*pgtype.ArrayCodec)}} {
		types := pgtype.NewMap()
		types.RegisterType(&pgtype.Type{Name: known.Name, OID: known.OID, Codec: codec})
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := types.Encode(known.OID, pgtype.BinaryFormatCode, list, make([]byte, 0, 128)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
