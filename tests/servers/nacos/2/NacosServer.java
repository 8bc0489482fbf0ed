import com.alibaba.nacos.core.code.ControllerMethodsCache;
import com.alibaba.nacos.plugin.auth.exception.AccessException;
import org.springframework.beans.factory.annotation.Autowired;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.AutoConfigurationExcludeFilter;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.boot.context.TypeExcludeFilter;
import org.springframework.boot.web.servlet.ServletComponentScan;
import org.springframework.context.annotation.ComponentScan;
import org.springframework.context.annotation.FilterType;
import org.springframework.core.Ordered;
import org.springframework.core.annotation.Order;
import org.springframework.http.HttpStatus;
import org.springframework.scheduling.annotation.EnableScheduling;
import org.springframework.web.bind.annotation.ExceptionHandler;
import org.springframework.web.bind.annotation.ResponseStatus;
import org.springframework.web.bind.annotation.RestControllerAdvice;

/**
 * Starts a Nacos 2 server without its web console. The console's module, which is not published for 2.x, would also tell
 * the request filters where the controllers are and answer 403 to a refused login; so this does.
 */
@SpringBootApplication
@ComponentScan(
    basePackages = "com.alibaba.nacos",
    excludeFilters = {
      @ComponentScan.Filter(type = FilterType.CUSTOM, classes = TypeExcludeFilter.class),
      @ComponentScan.Filter(type = FilterType.CUSTOM, classes = AutoConfigurationExcludeFilter.class)
    })
@ServletComponentScan("com.alibaba.nacos")
@EnableScheduling
public class NacosServer {
  @Autowired
  void findControllers(ControllerMethodsCache methods) {
    methods.initClassMethod("com.alibaba.nacos.core.controller");
    methods.initClassMethod("com.alibaba.nacos.naming.controllers");
    methods.initClassMethod("com.alibaba.nacos.config.server.controller");
  }

  @RestControllerAdvice
  @Order(Ordered.HIGHEST_PRECEDENCE)
  public static class Refusals {
    @ExceptionHandler(AccessException.class)
    @ResponseStatus(HttpStatus.FORBIDDEN)
    String refuse(AccessException refusal) {
      return refusal.getErrMsg();
    }
  }

  public static void main(String[] args) {
    SpringApplication.run(NacosServer.class, args);
  }
}
