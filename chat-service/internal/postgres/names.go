package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/postgres/roundtrip"
	"github.com/starling-chat/starling/chat-service/internal/rules"
)

// memberships.user_name is a copy of user_names, so that writing a message looks at one table only. Who makes a membership locks the
// user's name until the commit, and so does who changes it: no copy can be made of a name that is being replaced. Names are locked
// in the order of users, and before memberships. A member who was called by the id, because nobody knew better, takes any name.
const (
	sqlKeepNames = `
		INSERT INTO user_names AS n (user_id, name, version)
		SELECT user_id, name, version FROM unnest($1::text[], $2::text[], $3::bigint[]) AS k (user_id, name, version) ORDER BY user_id
		ON CONFLICT (user_id) DO UPDATE SET
			name = CASE WHEN excluded.version >= n.version AND excluded.name <> '' THEN excluded.name ELSE n.name END,
			version = greatest(excluded.version, n.version)
		RETURNING n.user_id, n.name, n.version`

	sqlCopyNames = `
		UPDATE memberships AS m SET user_name = n.name, name_version = n.version
		FROM user_names AS n WHERE n.user_id = ANY($1::text[]) AND m.user_id = n.user_id
		AND (m.name_version < n.version OR m.user_name = m.user_id AND m.name_version = n.version AND n.name <> '')`
)

func nameColumns(list []chat.UserName) []any {
	users, names, versions := make([]string, len(list)), make([]string, len(list)), make([]int64, len(list))
	for i, n := range list {
		users[i], names[i], versions[i] = string(n.User), n.Text, n.Version
	}
	return []any{users, names, versions}
}

// keepNames stores the names of users who join, and reads the present ones. Of those whom others make members nothing is stored but a row
// to be locked, with an empty name.
func keepNames(names []chat.UserName, state *rules.State) roundtrip.Step {
	state.Names = make(map[chat.UserID]chat.Name, len(names))
	return roundtrip.Step{SQL: sqlKeepNames, Args: nameColumns(names), Scan: func(rows pgx.Rows) error {
		var user chat.UserID
		var name chat.Name
		err := rows.Scan((*string)(&user), &name.Text, &name.Version)
		state.Names[user] = name
		return err
	}}
}

// Rename implements usecases.Store. Doing it again does no harm.
func (s *Store) Rename(ctx context.Context, names []chat.UserName) error {
	names = chat.Newest(names)
	users := make([]string, len(names))
	for i, n := range names {
		users[i] = string(n.User)
	}
	if !s.opened.Load() {
		return errStarting
	}
	return s.shared.Tx(ctx, "rename users", func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, sqlKeepNames, nameColumns(names)...); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, sqlCopyNames, users)
		return err
	})
}
