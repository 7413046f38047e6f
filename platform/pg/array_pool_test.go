package pg_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/starling-chat/starling/platform/pg/pgtest"
)

// TestArraysOfAPool has a pool's connections encode arrays by the codec, and PostgreSQL give back what was meant.
func TestArraysOfAPool(t *testing.T) {
	pool := pgtest.Pool(t, migrations(), "arrays")
	conn, err := pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	for _, oid := range []uint32{pgtype.TextArrayOID, pgtype.Int8ArrayOID, pgtype.UUIDArrayOID, pgtype.ByteaArrayOID} {
		if known, _ := conn.Conn().TypeMap().TypeForOID(oid); fmt.Sprintf("%T", known.Codec) != "pg.arrayCodec" {
			t.Errorf("OID %d is encoded by %T", oid, known.Codec)
		}
	}
	var texts []string
	var sum int64
	var ids, content string
	err = conn.QueryRow(t.Context(), `SELECT $1::text[], (SELECT sum(n)::bigint FROM unnest($2::bigint[]) AS n), $3::uuid[]::text, $4::bytea[]::text`,
		[]string{"a", "", "ü\"{},"}, []int64{-5, 7}, [][16]byte{{15: 1}}, [][]byte{{1, 255}, nil, {}}).Scan(&texts, &sum, &ids, &content)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Join(texts, "|") != `a||ü"{},` || sum != 2 || ids != "{00000000-0000-0000-0000-000000000001}" || content != `{"\\x01ff",NULL,"\\x"}` {
		t.Errorf("%q %d %s %s", texts, sum, ids, content)
	}
}
