"""ConnectorX to an Arrow table, its binary protocol; one query of a range of pages for each connection.

Cutting by a column, as its documentation does, makes the server read the table once for each connection.
"""

import connectorx

from common import CONNECTIONS, TABLE, URL, Clock, ranges

queries = [f"SELECT * FROM {TABLE} WHERE {condition}" for condition in ranges(CONNECTIONS)]
clock = Clock()
table = connectorx.read_sql(URL, queries, return_type="arrow", protocol="binary")
clock.stop(table.num_rows)
clock.print(table.to_batches())
