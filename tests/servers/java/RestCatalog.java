import java.io.File;
import java.net.InetSocketAddress;
import java.util.HashMap;
import java.util.Map;
import org.apache.hadoop.conf.Configuration;
import org.apache.iceberg.jdbc.JdbcCatalog;
import org.apache.iceberg.rest.RESTCatalogAdapter;
import org.apache.iceberg.rest.RESTCatalogServlet;
import org.eclipse.jetty.ee10.servlet.ServletContextHandler;
import org.eclipse.jetty.ee10.servlet.ServletHolder;
import org.eclipse.jetty.server.Server;

/**
 * Apache Iceberg's own REST adapter over a JDBC catalog in SQLite, as Iceberg's tests wire it, but on the
 * loopback interface only. Arguments: port, data directory, then catalog properties as key=value.
 */
public final class RestCatalog {
  private RestCatalog() {}

  public static void main(String[] args) throws Exception {
    File data = new File(args[1]).getAbsoluteFile();
    Map<String, String> properties = new HashMap<>();
    properties.put(
        "uri", "jdbc:sqlite:" + new File(data, "catalog.db") + "?journal_mode=WAL&busy_timeout=10000");
    properties.put("jdbc.schema-version", "V1");
    properties.put("warehouse", "file://" + new File(data, "warehouse"));
    // SQLite takes one writer at a time.
    properties.put("clients", "1");
    for (int i = 2; i < args.length; i++) {
      int split = args[i].indexOf('=');
      properties.put(args[i].substring(0, split), args[i].substring(split + 1));
    }

    JdbcCatalog catalog = new JdbcCatalog();
    catalog.setConf(new Configuration());
    catalog.initialize("rest_backend", properties);

    ServletContextHandler handler = new ServletContextHandler();
    handler.addServlet(new ServletHolder(new RESTCatalogServlet(new RESTCatalogAdapter(catalog))), "/*");
    Server server = new Server(new InetSocketAddress("127.0.0.1", Integer.parseInt(args[0])));
    server.setHandler(handler);
    server.start();
    server.join();
  }
}
